//! Quality of a network on a set of images, against labels and against the float network.
//!
//! Batches go to worker threads with one libtorch thread each; sums are taken in the order of
//! the batches, so that the number of threads changes nothing.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use tch::{Device, Kind, Tensor};

use crate::{
    domain::Quality,
    network::{Arithmetic, Array, Executable, Graph},
    quantization::{blends::with_blends, error::QuantizationError},
};

/// How a set of images is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvaluationSettings {
    /// Worker threads; each runs whole batches.
    pub threads: usize,
    pub device: Device,
    /// Of rounded networks; what sensitivities look at is always computed in floats.
    pub arithmetic: Arithmetic,
    /// Whether the divergence is also looked at on blends of neighbouring images: half as many
    /// again, see [`Quality::kl`].
    pub blends: bool,
}

impl Default for EvaluationSettings {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
        Self { threads, device: Device::Cpu, arithmetic: Arithmetic::Float, blends: false }
    }
}

/// Images in one forward pass: 64, or fewer large ones, so that what a layer reads and writes
/// stays near the processor.
pub fn batch_of(images: &Tensor) -> usize {
    const NUMBERS: i64 = 1 << 20;
    let per_image: i64 = images.size()[1..].iter().product();
    (NUMBERS / per_image.max(1)).clamp(1, 64) as usize
}

/// The same on a device: one that is far from the program is given more at a time.
fn batch_on(device: Device, images: &Tensor) -> usize {
    const MORE: usize = 4;
    if device == Device::Cpu { batch_of(images) } else { MORE * batch_of(images) }
}

/// A set of images with what the float network says of them.
pub struct Evaluator {
    batches: Vec<Batch>,
    settings: EvaluationSettings,
    n_images: usize,
    float: Measured,
}

/// What one pass over all images gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    pub quality: Quality,
    pub wall_s: f64,
}

pub(super) struct Batch {
    /// The images and, where wanted, their blends behind them.
    pub(super) images: Tensor,
    /// Images that are no blends.
    n_images: usize,
    /// `[n_images]`, i64
    labels: Option<Tensor>,
    /// The float network's outputs, `[n, classes]`.
    float_outputs: Tensor,
}

impl Batch {
    pub(super) fn float_outputs(&self) -> &Tensor {
        &self.float_outputs
    }

    /// Images that are no blends.
    pub(super) fn n_images(&self) -> usize {
        self.n_images
    }

    fn shallow_clone(&self) -> Self {
        Self {
            images: self.images.shallow_clone(),
            n_images: self.n_images,
            labels: self.labels.as_ref().map(Tensor::shallow_clone),
            float_outputs: self.float_outputs.shallow_clone(),
        }
    }
}

impl Evaluator {
    /// Runs the float network once over the images and keeps its outputs.
    ///
    /// - `float`: the float network, folded
    /// - `images`: `[n, ...]` as the network reads them, f32, at least one
    /// - `labels`: one class an image
    ///
    /// # Errors
    /// When the network does not run on the images, or a label is no class of it.
    pub fn new(
        float: &Graph,
        images: &Tensor,
        labels: Option<&[i64]>,
        settings: EvaluationSettings,
    ) -> Result<Self, QuantizationError> {
        let n = images.size()[0];
        if n == 0 {
            return Err(QuantizationError::NoImages);
        }
        // Parts of joined inputs are no images: they cannot be blended.
        let blends = settings.blends && float.joined_inputs().is_empty();
        let settings = EvaluationSettings { blends, ..settings };
        let (device, batch) = (settings.device, batch_on(settings.device, images));
        let batches: Vec<Batch> = (0..n)
            .step_by(batch)
            .map(|start| {
                let length = (batch as i64).min(n - start);
                let labels = labels.map(|labels| {
                    let end = (start + length) as usize;
                    Tensor::from_slice(&labels[start as usize..end]).to_device(device)
                });
                let mut own = images.narrow(0, start, length).to_device(device);
                if settings.blends {
                    own = with_blends(&own);
                }
                Batch {
                    images: channels_last(&own),
                    n_images: length as usize,
                    labels,
                    float_outputs: Tensor::new(),
                }
            })
            .collect();
        let measured = Measured { quality: Quality::default(), wall_s: 0.0 };
        let mut evaluator = Self { batches, settings, n_images: n as usize, float: measured };
        evaluator.measure_float(float, labels)?;
        Ok(evaluator)
    }

    fn measure_float(
        &mut self,
        float: &Graph,
        labels: Option<&[i64]>,
    ) -> Result<(), QuantizationError> {
        let start = Instant::now();
        let outputs = self.run_batches(float, |_, outputs| outputs)?;
        let wall_s = start.elapsed().as_secs_f64();
        for (batch, outputs) in self.batches.iter_mut().zip(outputs) {
            batch.float_outputs = outputs;
        }
        if let Some(labels) = labels {
            let classes = self.batches[0].float_outputs.size()[1] as usize;
            let outside = labels.iter().position(|&l| l < 0 || l as usize >= classes);
            if let Some(image) = outside {
                let label = labels[image];
                return Err(QuantizationError::LabelOutOfRange { image, label, classes });
            }
        }
        let mut sums = Sums::default();
        for batch in &self.batches {
            sums.add(&Sums::of(batch, &batch.float_outputs));
        }
        self.float = Measured { quality: sums.finish(), wall_s };
        Ok(())
    }

    /// The same over whole batches from the front, enough for `n_images` or all there are;
    /// nothing runs again.
    #[must_use]
    pub fn first_images(&self, n_images: usize) -> Self {
        let (mut batches, mut found, mut sums) = (Vec::new(), 0, Sums::default());
        for batch in &self.batches {
            if found >= n_images {
                break;
            }
            found += batch.n_images;
            sums.add(&Sums::of(batch, &batch.float_outputs));
            batches.push(batch.shallow_clone());
        }
        let n_images = found;
        let wall_s = self.float.wall_s * n_images as f64 / self.n_images as f64;
        let float = Measured { quality: sums.finish(), wall_s };
        Self { batches, settings: self.settings, n_images, float }
    }

    pub fn n_images(&self) -> usize {
        self.n_images
    }

    /// Images from the front, without blends, on the processor: so many or all there are.
    pub fn leading_images(&self, n_images: usize) -> Tensor {
        let front = self.first_images(n_images);
        let images = front.batches.iter().map(|b| b.images.narrow(0, 0, b.n_images as i64));
        let images = Tensor::cat(&images.collect::<Vec<_>>(), 0);
        images.narrow(0, 0, n_images.min(front.n_images) as i64).to_device(Device::Cpu)
    }

    /// Whether divergence is measured on blends of the images as well.
    pub fn has_blends(&self) -> bool {
        self.settings.blends
    }

    pub(super) fn batches(&self) -> &[Batch] {
        &self.batches
    }

    pub(super) fn settings(&self) -> EvaluationSettings {
        self.settings
    }

    pub(super) fn settings_mut(&mut self) -> &mut EvaluationSettings {
        &mut self.settings
    }

    pub(super) fn device(&self) -> Device {
        self.settings.device
    }

    /// The float network's outputs, `[n, outputs]`; blends are left out.
    ///
    /// # Errors
    /// When they cannot be copied from the device.
    pub fn outputs(&self) -> Result<Array, QuantizationError> {
        let of_batch = |batch: &Batch| batch.float_outputs.narrow(0, 0, batch.n_images as i64);
        let outputs: Vec<Tensor> = self.batches.iter().map(of_batch).collect();
        Ok(Array::from_tensor(&Tensor::cat(&outputs, 0).to_device(Device::Cpu))?)
    }

    /// The float network on the same images.
    pub fn float(&self) -> Measured {
        self.float
    }

    /// One forward pass over all images.
    ///
    /// # Errors
    /// When the network does not run.
    pub fn evaluate(&self, graph: &Graph) -> Result<Measured, QuantizationError> {
        let start = Instant::now();
        let parts = self.run_batches(graph, |batch, outputs| Sums::of(batch, &outputs))?;
        let mut sums = Sums::default();
        parts.iter().for_each(|part| sums.add(part));
        Ok(Measured { quality: sums.finish(), wall_s: start.elapsed().as_secs_f64() })
    }

    /// Threads that batches go to.
    pub(super) fn n_workers(&self) -> usize {
        match self.settings.device {
            Device::Cpu => self.settings.threads.clamp(1, self.batches.len()),
            _ => 1,
        }
    }

    /// Runs `graph` on every batch and gives what `reduce` makes of the outputs, in order.
    fn run_batches<R: Send>(
        &self,
        graph: &Graph,
        reduce: impl Fn(&Batch, Tensor) -> R + Sync,
    ) -> Result<Vec<R>, QuantizationError> {
        let EvaluationSettings { device, arithmetic, .. } = self.settings;
        let executable = Executable::in_arithmetic(graph, device, arithmetic)?;
        self.for_batches(&[executable], |_, batch, executables| {
            let outputs = executables[0].run(&batch.images)?;
            Ok(reduce(batch, outputs.flatten(1, -1)))
        })
    }

    /// Gives every batch, with its index and handles on the executables, to `work`; what that
    /// makes of them comes in the order of the batches.
    pub(super) fn for_batches<R: Send>(
        &self,
        executables: &[Executable],
        work: impl Fn(usize, &Batch, &[Executable]) -> Result<R, QuantizationError> + Sync,
    ) -> Result<Vec<R>, QuantizationError> {
        self.for_batches_in(0..self.batches.len(), executables, work)
    }

    /// The same for some of the batches.
    pub(super) fn for_batches_in<R: Send>(
        &self,
        range: std::ops::Range<usize>,
        executables: &[Executable],
        work: impl Fn(usize, &Batch, &[Executable]) -> Result<R, QuantizationError> + Sync,
    ) -> Result<Vec<R>, QuantizationError> {
        let next = AtomicUsize::new(range.start);
        let results: Mutex<Vec<(usize, Result<R, QuantizationError>)>> = Mutex::default();
        let n_workers = self.n_workers().min(range.len());
        std::thread::scope(|scope| {
            for _ in 0..n_workers {
                // A tensor may move to a thread but not be shared: each worker has its own handles.
                let executables: Vec<Executable> =
                    executables.iter().map(Executable::share).collect();
                let batches: Vec<Batch> = self.batches.iter().map(Batch::shallow_clone).collect();
                let (next, results, work, end) = (&next, &results, &work, range.end);
                scope.spawn(move || {
                    if n_workers > 1 {
                        tch::set_num_threads(1);
                    }
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(batch) = batches[..end].get(index) else { break };
                        let result = work(index, batch, &executables);
                        results.lock().expect("no worker panics").push((index, result));
                    }
                });
            }
        });
        let mut results = results.into_inner().expect("no worker panics");
        results.sort_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

/// The same tensor with its channels last in memory, as convolutions run fastest; tensors of
/// another rank stay as they are.
fn channels_last(images: &Tensor) -> Tensor {
    if images.dim() != 4 {
        return images.contiguous();
    }
    images.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

/// Sums over images, from which means are made.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    has_labels: bool,
    n_images: usize,
    /// With blends.
    n_rows: usize,
    top1: f64,
    top5: f64,
    loss: f64,
    agreement: f64,
    /// Over rows, as is the next.
    kl: f64,
    mse: f64,
}

impl Sums {
    /// - `outputs`: of the whole batch, `[n, classes]`
    pub(super) fn of(batch: &Batch, outputs: &Tensor) -> Self {
        let float = &batch.float_outputs;
        let log_p = float.log_softmax(1, Kind::Float);
        let log_q = outputs.log_softmax(1, Kind::Float);
        let of_images = |rows: &Tensor| rows.narrow(0, 0, batch.n_images as i64);
        let predicted = of_images(outputs).argmax(1, false);
        let mut totals = vec![
            predicted.eq_tensor(&of_images(float).argmax(1, false)),
            log_p.exp() * (&log_p - &log_q),
            (outputs - float).square().mean_dim([1].as_slice(), false, Kind::Float),
        ];
        if let Some(labels) = &batch.labels {
            let column = labels.unsqueeze(1);
            let five = outputs.size()[1].min(5);
            let best_five = of_images(outputs).topk(five, 1, true, false).1;
            totals.push(predicted.eq_tensor(labels));
            totals.push(best_five.eq_tensor(&column));
            totals.push(of_images(&log_q).gather(1, &column, false));
        }
        // Read at once: each reading waits for the device.
        let totals: Vec<Tensor> = totals.iter().map(|each| each.sum(Kind::Double)).collect();
        let totals = Vec::<f64>::try_from(Tensor::stack(&totals, 0)).expect("they are numbers");
        let mut sums = Self {
            n_images: batch.n_images,
            n_rows: outputs.size()[0] as usize,
            agreement: totals[0],
            kl: totals[1],
            mse: totals[2],
            ..Self::default()
        };
        if let [top1, top5, log_likelihood] = totals[3..] {
            sums.has_labels = true;
            sums.top1 = top1;
            sums.top5 = top5;
            sums.loss = -log_likelihood;
        }
        sums
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.has_labels |= other.has_labels;
        self.n_images += other.n_images;
        self.n_rows += other.n_rows;
        self.top1 += other.top1;
        self.top5 += other.top5;
        self.loss += other.loss;
        self.agreement += other.agreement;
        self.kl += other.kl;
        self.mse += other.mse;
    }

    pub(super) fn finish(&self) -> Quality {
        let of_images = |sum: f64| sum / self.n_images as f64;
        let of_rows = |sum: f64| sum / self.n_rows as f64;
        let labelled = |sum: f64| self.has_labels.then(|| of_images(sum));
        Quality {
            top1: labelled(self.top1),
            top5: labelled(self.top5),
            loss: labelled(self.loss),
            agreement: Some(of_images(self.agreement)),
            kl: Some(of_rows(self.kl)),
            mse: Some(of_rows(self.mse)),
        }
    }
}
