//! Training a network whose weights share values: centroids move, who shares which stays.
//!
//! Source: HAQ's code, size mode: after a step of the float weights each cluster becomes their
//! mean, so a centroid goes along the mean of its weights' gradients (Han et al. 2016 take the
//! sum). We differ: batch norm is folded, biases are trained, and layers of 7 and 8 bits share
//! like the others, where the code leaves their weights free.

use tch::{Device, Tensor};

use crate::{
    domain::{Bits, BitwidthPolicy},
    network::{Array, Executable, Graph, TensorId},
    quantization::{
        error::QuantizationError,
        layer_matrix::WeightRows,
        quantized_network::Quantizer,
        training::{
            batches::{self, TrainingImages},
            descent::{DescentStep, Variable, cosine_rate},
            loss::loss,
            network::bias_of,
            settings::TrainingSettings,
        },
    },
};

/// The network at `policy` with codebooks and biases trained on `set`. Activations stay float.
/// Settings of ranges and batch norm do not count.
///
/// # Errors
/// When settings, images, policy and network do not go together, the method has no codebooks, or
/// [`QuantizationError::LossNotFinite`].
pub fn train_codebooks(
    quantizer: &Quantizer,
    policy: &BitwidthPolicy,
    set: TrainingImages,
    settings: TrainingSettings,
) -> Result<Graph, QuantizationError> {
    settings.check().map_err(|reason| QuantizationError::Training { reason })?;
    if !quantizer.method().has_codebooks() {
        let reason = format!("method {} has no codebooks", quantizer.method());
        return Err(QuantizationError::Training { reason });
    }
    if set.is_empty() {
        return Err(QuantizationError::NoImages);
    }
    if set.labels.is_none() && settings.distillation == 0.0 {
        return Err(QuantizationError::NothingToLearnFrom);
    }
    std::thread::scope(|scope| {
        let learner = scope.spawn(move || {
            // Sums inside an operation depend on how many threads share it.
            tch::set_num_threads(1);
            let mut network = SharedNetwork::new(quantizer, policy)?;
            network.train(quantizer.graph(), &set, &settings)?;
            network.settle()
        });
        learner.join().expect("the learner does not panic")
    })
}

struct SharedNetwork<'a> {
    graph: Graph,
    layers: Vec<SharedLayer<'a>>,
}

struct SharedLayer<'a> {
    weight: TensorId,
    rows: &'a WeightRows,
    /// Which centroid each weight is, row-major: i64.
    codes: Tensor,
    /// How many weights each centroid is; at least 1.
    counts: Tensor,
    centroids: Variable,
    bias: Option<(TensorId, Variable)>,
}

impl<'a> SharedLayer<'a> {
    fn new(
        quantizer: &'a Quantizer,
        index: usize,
        bits: Bits,
        graph: &Graph,
    ) -> Result<Self, QuantizationError> {
        let layer = &quantizer.layers()[index];
        let rounded = quantizer.rounded(index, bits)?;
        let centroids = &rounded.codebook;
        let code = |value: &f32| centroids.partition_point(|centroid| centroid < value) as i64;
        let codes = Tensor::from_slice(&rounded.values.iter().map(code).collect::<Vec<i64>>());
        let n_centroids = centroids.len() as i64;
        let counts = codes.f_bincount(None::<Tensor>, n_centroids)?.f_clamp_min(1)?;
        let name = &layer.name;
        let mut centroids =
            Variable::new(format!("{name}.codebook"), Tensor::from_slice(centroids));
        centroids.decays = true;
        let variable = |(id, bias): (TensorId, Tensor)| {
            (id, Variable::new(format!("{name}.bias"), bias.copy()))
        };
        Ok(Self {
            weight: layer.weight,
            rows: quantizer.weight_rows(index),
            codes,
            counts,
            centroids,
            bias: bias_of(graph, layer.output).map(variable),
        })
    }

    /// The weights that these centroids stand for, in the layer's own layout.
    fn weights(&self, centroids: &Tensor) -> Tensor {
        let shape = [self.rows.n_rows as i64, self.rows.n_columns as i64];
        self.rows.to_layout(&centroids.index_select(0, &self.codes).view(shape))
    }

    fn descend(
        &mut self,
        centroids: &Tensor,
        bias: Option<&Tensor>,
        step: &DescentStep,
    ) -> Result<(), QuantizationError> {
        self.centroids.descend(&centroids.f_div(&self.counts)?, step)?;
        if let (Some((_, variable)), Some(gradient)) = (&mut self.bias, bias) {
            variable.descend(gradient, step)?;
        }
        Ok(())
    }
}

/// A view that gradients flow to.
fn leaf(variable: &Variable) -> Tensor {
    variable.value.detach().set_requires_grad(true)
}

impl<'a> SharedNetwork<'a> {
    fn new(quantizer: &'a Quantizer, policy: &BitwidthPolicy) -> Result<Self, QuantizationError> {
        let graph = quantizer.rounded_network(policy)?;
        let layers = policy.layers().iter().enumerate();
        let layers = layers
            .map(|(index, bits)| SharedLayer::new(quantizer, index, bits.weight, &graph))
            .collect::<Result<_, QuantizationError>>()?;
        Ok(Self { graph, layers })
    }

    fn train(
        &mut self,
        float: &Graph,
        set: &TrainingImages,
        settings: &TrainingSettings,
    ) -> Result<(), QuantizationError> {
        let executable = Executable::new(&self.graph, Device::Cpu)?;
        let teacher = match settings.distillation > 0.0 {
            true => Some(Executable::new(float, Device::Cpu)?),
            false => None,
        };
        let TrainingSettings { epochs, batch, seed, augmentation, .. } = *settings;
        let n_steps = u64::from(epochs) * batches::steps_per_epoch(set.len(), batch) as u64;
        let mut number = 0;
        for epoch in 0..epochs {
            let order = batches::epoch_order(set.len(), batch, seed, epoch);
            for (step, chosen) in order.iter().enumerate() {
                let images = batches::draw(set, chosen, augmentation, seed, epoch, step);
                let labels = batches::labels_of(set, chosen);
                let answers = teacher.as_ref().map(|teacher| teacher.run(&images)).transpose()?;
                let answers = answers.map(|answers| answers.flatten(1, -1));
                let descent = DescentStep {
                    rate: cosine_rate(settings.learning_rate, number, n_steps),
                    momentum: settings.momentum,
                    weight_decay: settings.weight_decay,
                };
                let outputs = |outputs: &Tensor| {
                    let distillation = settings.distillation;
                    Ok(loss(outputs, labels.as_ref(), answers.as_ref(), distillation)?)
                };
                let loss = self.step(&executable, &images, outputs, &descent)?;
                if !loss.is_finite() {
                    return Err(QuantizationError::LossNotFinite { epoch, step, loss });
                }
                number += 1;
            }
        }
        Ok(())
    }

    /// One step against the gradient of `loss_of` the network's outputs; gives the loss of before.
    fn step(
        &mut self,
        executable: &Executable,
        images: &Tensor,
        loss_of: impl Fn(&Tensor) -> Result<Tensor, QuantizationError>,
        descent: &DescentStep,
    ) -> Result<f64, QuantizationError> {
        let centroids: Vec<Tensor> = self.layers.iter().map(|l| leaf(&l.centroids)).collect();
        let biases: Vec<Option<(TensorId, Tensor)>> = self
            .layers
            .iter()
            .map(|layer| layer.bias.as_ref().map(|(id, bias)| (*id, leaf(bias))))
            .collect();
        let weights: Vec<(TensorId, Tensor)> = self
            .layers
            .iter()
            .zip(&centroids)
            .map(|(layer, centroids)| (layer.weight, layer.weights(centroids)))
            .collect();
        let mut fed = vec![(self.graph.input()?.tensor, images)];
        fed.extend(weights.iter().map(|(id, tensor)| (*id, tensor)));
        fed.extend(biases.iter().flatten().map(|(id, tensor)| (*id, tensor)));
        let outputs =
            executable.run_recorded(&fed, &[self.graph.output()?], &mut |_, _| Ok(None))?;
        let loss = loss_of(&outputs[0].flatten(1, -1))?;
        let leaves: Vec<&Tensor> =
            centroids.iter().chain(biases.iter().flatten().map(|(_, bias)| bias)).collect();
        let gradients = Tensor::f_run_backward(&[&loss], &leaves, false, false)?;
        let (of_centroids, of_biases) = gradients.split_at(centroids.len());
        let mut of_biases = of_biases.iter();
        for ((layer, gradient), bias) in self.layers.iter_mut().zip(of_centroids).zip(&biases) {
            let bias = bias.as_ref().and_then(|_| of_biases.next());
            layer.descend(gradient, bias, descent)?;
        }
        Ok(loss.double_value(&[]))
    }

    /// The network as inference has it.
    fn settle(mut self) -> Result<Graph, QuantizationError> {
        for layer in &self.layers {
            let weights = layer.weights(&layer.centroids.value);
            self.graph.set_constant(layer.weight, Array::from_tensor(&weights.contiguous())?);
            if let Some((id, bias)) = &layer.bias {
                self.graph.set_constant(*id, Array::from_tensor(&bias.value)?);
            }
        }
        Ok(self.graph)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::LayerBits, network::Op, quantization::Method};

    const WEIGHTS: [f32; 6] = [0.9, 1.1, -0.5, -0.45, 1.0, -0.55];
    const IMAGES: [f32; 6] = [1.0, -2.0, 0.5, 0.25, 3.0, -1.0];

    /// Three inputs, two outputs, two values shared by six weights.
    fn quantizer() -> (Quantizer, BitwidthPolicy) {
        let (mut graph, x) = Graph::sketch(&[0, 3]);
        let weight = graph.hold("w", Array::f32(vec![2, 3], WEIGHTS.to_vec()));
        let bias = graph.hold("b", Array::f32(vec![2], vec![0.1, -0.1]));
        let gemm = Op::Gemm { alpha: 1.0, beta: 1.0, transpose_a: false, transpose_b: true };
        graph.draw(gemm, &[x, weight, bias]);
        let method: Method = "codebook".parse().unwrap();
        let quantizer = Quantizer::calibrate(graph, &images(), method).unwrap();
        let bits = LayerBits::new(Bits::MIN, Bits::EIGHT);
        (quantizer, BitwidthPolicy::uniform(1, bits))
    }

    fn images() -> Tensor {
        Tensor::from_slice(&IMAGES).view([2, 3])
    }

    fn set() -> TrainingImages {
        TrainingImages::new(images(), Some(&[0, 1]), vec![0.0])
    }

    fn weights_of(graph: &Graph) -> Vec<f32> {
        let layer = &graph.quantizable_layers()[0];
        graph.constant(layer.weight).and_then(Array::as_f32).unwrap().to_vec()
    }

    #[test]
    fn a_step_equals_one_of_free_weights_with_clusters_then_averaged() {
        let (quantizer, policy) = quantizer();
        let settings = TrainingSettings {
            epochs: 1,
            learning_rate: 0.1,
            weight_decay: 0.0,
            distillation: 0.0,
            ..TrainingSettings::default()
        };
        let before = quantizer.apply(&policy).unwrap();
        let start = weights_of(&before);
        let trained = train_codebooks(&quantizer, &policy, set(), settings).unwrap();

        let free = Tensor::from_slice(&start).view([2, 3]).set_requires_grad(true);
        let outputs = images().matmul(&free.tr()) + Tensor::from_slice(&[0.1f32, -0.1]);
        let gradient = outputs.cross_entropy_for_logits(&Tensor::from_slice(&[0i64, 1]));
        gradient.backward();
        let moved = Vec::<f32>::try_from((&free - free.grad() * 0.1).detach().view(-1)).unwrap();
        for (index, found) in weights_of(&trained).into_iter().enumerate() {
            let cluster = || (0..6).filter(|&other| start[other] == start[index]);
            let sum: f32 = cluster().map(|member| moved[member]).sum();
            let mean = sum / cluster().count() as f32;
            assert!((found - mean).abs() < 1e-6, "weight {index}: {found} {mean}");
        }
        assert_ne!(weights_of(&trained), start);
    }

    #[test]
    fn training_again_gives_the_same_and_what_cannot_be_trained_is_named() {
        let (quantizer, policy) = quantizer();
        let settings = TrainingSettings { epochs: 3, ..TrainingSettings::default() };
        let train = || train_codebooks(&quantizer, &policy, set(), settings).unwrap();
        assert_eq!(weights_of(&train()), weights_of(&train()));
        let unlabelled = TrainingImages::new(images(), None, vec![0.0]);
        let settings = TrainingSettings { distillation: 0.0, ..settings };
        let refused = train_codebooks(&quantizer, &policy, unlabelled, settings);
        assert!(matches!(refused, Err(QuantizationError::NothingToLearnFrom)));
    }
}
