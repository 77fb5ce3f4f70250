//! One convolution on codes: from the constants of a graph to the memory of tensors.

use haq_kernels::{
    Addend, DenseWeights, DepthwiseScratch, DepthwiseWeights, Finish, Outputs, Places, Sweep, Tile,
};
use tch::{Device, Kind, TchError, Tensor};

use super::{super::apply::refuse, memory};
use crate::network::{
    array::Array,
    attributes::{Grid, Window},
    graph::{Graph, Node},
    ops::Op,
};

/// A convolution whose weights are codes of 8 bits, one scale a channel.
#[derive(Debug)]
pub(in crate::network::execute) struct CodedConvolution {
    window: Window,
    out_channels: usize,
    in_channels: usize,
    /// Of the codes it reads.
    zero_point: i32,
    products: Products,
    finish: Finish,
    writes_numbers: bool,
}

#[derive(Debug)]
enum Products {
    Dense { weights: DenseWeights, channels: usize },
    Depthwise(DepthwiseWeights),
}

/// What a layer on codes makes: at least one of the two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::network::execute) struct Wanted {
    pub numbers: bool,
    pub codes: Option<Grid>,
    /// Before either is written.
    pub clip: (f32, f32),
}

/// The results, `[n, out_channels, h, w]` with channels last, codes as bytes.
pub(in crate::network::execute) struct Made {
    pub numbers: Option<Tensor>,
    pub codes: Option<Tensor>,
}

/// The codes of a constant and the scale of each row, where it has been rounded to such.
pub(in crate::network::execute) struct CodedWeight<'g> {
    shape: [usize; 4],
    codes: Vec<i8>,
    scales: &'g [f32],
}

impl<'g> CodedWeight<'g> {
    /// The weight of a convolution, if every number is a code of 8 bits times its row's scale.
    pub fn of(graph: &'g Graph, node: &Node) -> Option<Self> {
        let Op::Conv { window, groups } = &node.op else { return None };
        let tensor = node.input(1)?;
        let array = graph.constant(tensor)?;
        let shape: [usize; 4] = array.shape().try_into().ok()?;
        let is_depthwise = *groups == shape[0] && shape[1] == 1;
        let bias_is_plain = node.input(2).is_none_or(|bias| {
            let bias = graph.constant(bias).and_then(Array::as_f32);
            bias.is_some_and(|bias| bias.len() == shape[0])
        });
        let products = shape[1] * shape[2] * shape[3];
        if window.dilation != [1, 1]
            || window.stride.contains(&0)
            || !(*groups == 1 || is_depthwise)
            || !bias_is_plain
            || !(1..MOST_PRODUCTS).contains(&products)
        {
            return None;
        }
        let scales = graph.row_scales(tensor)?;
        let values = array.as_f32()?;
        if scales.len() != shape[0] {
            return None;
        }
        let rows = values.chunks_exact(products).zip(scales);
        let mut codes = Vec::with_capacity(values.len());
        for (row, &scale) in rows {
            for &value in row {
                let code = (value / scale).round_ties_even();
                if code * scale != value || !(-128.0..=127.0).contains(&code) {
                    return None;
                }
                codes.push(code as i8);
            }
        }
        Some(Self { shape, codes, scales })
    }
}

/// So many products of 8-bit codes can never leave 32 bits.
const MOST_PRODUCTS: usize = 1 << 15;

impl CodedConvolution {
    /// None when the node is no convolution.
    ///
    /// - `weight`: of the node
    /// - `grid`: of the tensor it reads
    pub fn new(
        graph: &Graph,
        node: &Node,
        weight: &CodedWeight<'_>,
        grid: Grid,
        wanted: Wanted,
    ) -> Option<Self> {
        let &CodedWeight { shape, ref codes, scales } = weight;
        let Op::Conv { window, groups } = &node.op else { return None };
        let [out_channels, per_group, rows, columns] = shape;
        let products = if *groups == 1 {
            let channels = per_group.next_multiple_of(4);
            let weights = DenseWeights::pack(codes, shape, channels, grid.zero_point);
            Products::Dense { weights, channels }
        } else {
            let kernel = [rows, columns];
            Products::Depthwise(DepthwiseWeights::pack(
                codes,
                out_channels,
                kernel,
                grid.zero_point,
            ))
        };
        let bias = node.input(2).and_then(|bias| graph.constant(bias)).and_then(Array::as_f32);
        let bias = bias.map_or_else(|| vec![0.0; out_channels], <[f32]>::to_vec);
        let scale = scales.iter().map(|scale| scale * grid.scale).collect();
        let finish = Finish { scale, bias, clip: wanted.clip, grid: wanted.codes };
        Some(Self {
            window: window.clone(),
            out_channels,
            in_channels: per_group * groups,
            zero_point: grid.zero_point,
            products,
            finish,
            writes_numbers: wanted.numbers,
        })
    }

    /// - `codes`: `[n, in_channels, h, w]`, bytes, channels last
    /// - `addend`: added to the output before it is clipped, f32, of its shape; where `overwrite`
    ///   says so, its memory may take the numbers
    ///
    /// # Errors
    /// When the window does not fit the image, or the addend the output.
    pub fn run(
        &self,
        codes: &Tensor,
        addend: Option<Tensor>,
        overwrite: bool,
    ) -> Result<Made, TchError> {
        let size: Vec<usize> = codes.size().iter().map(|&n| n as usize).collect();
        let &[n, channels, rows, columns] = size.as_slice() else {
            return Err(refuse("codes of images have four axes"));
        };
        if channels != self.in_channels {
            return Err(refuse("the codes have other channels than the weights"));
        }
        let output = self.output([rows, columns])?;
        let shape = [n, output[0], output[1], self.out_channels].map(|n| n as i64);
        let addend = addend.map(|addend| laid_out(&addend, shape)).transpose()?;
        let new = |kind: Kind| Tensor::f_empty(shape, (kind, Device::Cpu));
        let in_place = overwrite && self.writes_numbers && addend.is_some();
        let (addend, mut made_numbers) = match addend {
            Some(addend) if in_place => (None, Some(addend)),
            addend => (addend, self.writes_numbers.then(|| new(Kind::Float)).transpose()?),
        };
        let mut made_codes = self.finish.grid.map(|_| new(Kind::Uint8)).transpose()?;
        let input = codes.f_permute([0, 2, 3, 1])?.f_contiguous()?;
        let source = memory::bytes(&input)?;
        let mut results = Results {
            numbers: made_numbers.as_mut().map(memory::floats_mut).transpose()?,
            codes: made_codes.as_mut().map(memory::bytes_mut).transpose()?,
            addend: addend.as_ref().map(memory::floats).transpose()?,
            in_place,
        };
        self.sweep(source, [n, rows, columns], output, &mut results);
        let channels_second = |tensor: Tensor| tensor.f_permute([0, 3, 1, 2]);
        Ok(Made {
            numbers: made_numbers.map(channels_second).transpose()?,
            codes: made_codes.map(channels_second).transpose()?,
        })
    }

    /// Rows and columns of the output.
    fn output(&self, image: [usize; 2]) -> Result<[usize; 2], TchError> {
        let mut output = [0; 2];
        for axis in 0..2 {
            let (before, after) = self.window.padding_of(axis);
            let room = (image[axis] + before + after).checked_sub(self.window.extent(axis));
            let room = room.ok_or_else(|| refuse("the window is larger than the padded image"))?;
            output[axis] = room / self.window.stride[axis] + 1;
        }
        Ok(output)
    }

    fn sweep(
        &self,
        source: &[u8],
        [n, rows, columns]: [usize; 3],
        output: [usize; 2],
        results: &mut Results<'_>,
    ) {
        if n == 0 {
            return;
        }
        let Window { kernel, stride, padding, .. } = &self.window;
        let n_places = output[0] * output[1];
        let image_of = |index: usize| &source[index * source.len() / n..][..source.len() / n];
        match &self.products {
            Products::Dense { weights, channels } => {
                let is_padded = *padding != [0; 4] || *channels != self.in_channels;
                if !is_padded && *kernel == [1, 1] && *stride == [1, 1] {
                    // Neighbours do not matter: all images are one.
                    let row = columns * channels;
                    let places = Places { columns, step: *channels, row_step: row, row };
                    let mut outputs = results.image(0, 1);
                    let finish = &mut |tile: Tile<'_>| self.finish.write(&tile, &mut outputs);
                    return weights.sums(source, places, n * n_places, finish);
                }
                let mut border = Border::new(self, [rows, columns], *channels);
                let row = border.columns * channels;
                let (step, row_step) = (stride[1] * channels, stride[0] * row);
                let places = Places { columns: output[1], step, row_step, row };
                for index in 0..n {
                    let mut outputs = results.image(index, n);
                    let finish = &mut |tile: Tile<'_>| self.finish.write(&tile, &mut outputs);
                    let image = match is_padded {
                        true => border.around(image_of(index), [rows, columns], self.in_channels),
                        false => image_of(index),
                    };
                    weights.sums(image, places, n_places, finish);
                }
            }
            Products::Depthwise(weights) => {
                let before = [padding[0], padding[1]];
                let sweep = Sweep { image: [rows, columns], output, stride: *stride, before };
                let mut scratch = DepthwiseScratch::default();
                for index in 0..n {
                    let mut outputs = results.image(index, n);
                    let finish = &mut |tile: Tile<'_>| self.finish.write(&tile, &mut outputs);
                    weights.sums(image_of(index), sweep, &mut scratch, finish);
                }
            }
        }
    }
}

/// The memory of a whole batch.
struct Results<'a> {
    numbers: Option<&'a mut [f32]>,
    codes: Option<&'a mut [u8]>,
    addend: Option<&'a [f32]>,
    in_place: bool,
}

impl Results<'_> {
    /// One of `n` equal parts.
    fn image(&mut self, index: usize, n: usize) -> Outputs<'_> {
        let range = |length: usize| index * (length / n)..(index + 1) * (length / n);
        let addend = match (self.in_place, self.addend) {
            (true, _) => Addend::InPlace,
            (false, Some(addend)) => Addend::Apart(&addend[range(addend.len())]),
            (false, None) => Addend::None,
        };
        let numbers = self.numbers.as_mut().map(|all| {
            let range = range(all.len());
            &mut all[range]
        });
        let codes = self.codes.as_mut().map(|all| {
            let range = range(all.len());
            &mut all[range]
        });
        Outputs { numbers, codes, addend }
    }
}

/// An image with room around it, which holds the code of 0.
struct Border {
    columns: usize,
    channels: usize,
    before: [usize; 2],
    padded: Vec<u8>,
}

impl Border {
    fn new(layer: &CodedConvolution, [rows, columns]: [usize; 2], channels: usize) -> Self {
        let [top, left, bottom, right] = layer.window.padding;
        let columns = left + columns + right;
        let padded = vec![layer.zero_point as u8; (top + rows + bottom) * columns * channels];
        Self { columns, channels, before: [top, left], padded }
    }

    fn around(&mut self, image: &[u8], [_, columns]: [usize; 2], image_channels: usize) -> &[u8] {
        for (row, source) in image.chunks_exact(columns * image_channels).enumerate() {
            let first = (row + self.before[0]) * self.columns + self.before[1];
            let target = &mut self.padded[first * self.channels..][..columns * self.channels];
            if image_channels == self.channels {
                target.copy_from_slice(source);
                continue;
            }
            let places = target.chunks_exact_mut(self.channels);
            for (target, source) in places.zip(source.chunks_exact(image_channels)) {
                target[..image_channels].copy_from_slice(source);
            }
        }
        &self.padded
    }
}

/// An addend in the memory layout of an output `[n, h, w, channels]`.
fn laid_out(addend: &Tensor, shape: [i64; 4]) -> Result<Tensor, TchError> {
    if addend.kind() != Kind::Float {
        return Err(refuse("what is added to a layer is f32"));
    }
    let [n, rows, columns, channels] = shape;
    let addend = addend.f_expand([n, channels, rows, columns], false)?;
    addend.f_permute([0, 2, 3, 1])?.f_contiguous()
}
