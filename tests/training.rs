//! Quantization-aware training of the embedded network: where it starts, that it helps, that it
//! goes on as if never stopped, and what comes out.

use std::path::Path;

use haq::{
    data::{
        Card, DataSource, DataSpec, Dataset, Images, Overrides, Preprocessing, Split, SplitLimits,
    },
    domain::{Bits, BitwidthPolicy, LayerBits, Quality},
    network::{Graph, Op, TensorFile},
    quantization::{
        Augmentation, BatchNormTraining, EvaluationSettings, Evaluator, IntegerNetwork,
        KernelChoice, Method, QuantizationError, Quantizer, RangeLearning, RangeRule, Training,
        TrainingImages, TrainingSettings, TunedNetwork,
    },
    search::Model,
};

struct Setup {
    model: Model,
    quantizer: Quantizer,
    training: Images,
    /// Images that are trained on.
    n_training: usize,
    evaluator: Evaluator,
}

fn bits(weight: u8, activation: u8) -> LayerBits {
    LayerBits::new(Bits::new(weight).unwrap(), Bits::new(activation).unwrap())
}

fn setup(model: Option<&str>) -> Setup {
    tch::set_num_threads(1);
    let model = Model::load(model.map(Path::new)).unwrap();
    let preprocessing: Preprocessing =
        Card::resolve(model.card.as_ref(), &Overrides::default()).unwrap();
    let limits = SplitLimits { calibration: Some(128), search: Some(300), test: Some(1) };
    let spec = DataSpec { source: DataSource::Embedded, preprocessing, seed: 1, limits };
    let dataset = Dataset::open(&spec, &model.graph.input_shape().unwrap(), None).unwrap();
    let calibration = dataset.load(Split::Calibration).unwrap().to_tensor();
    let search = dataset.load(Split::Search).unwrap();
    let quantizer =
        Quantizer::calibrate(model.graph.clone(), &calibration, Method::default()).unwrap();
    let settings = EvaluationSettings { threads: 1, ..Default::default() };
    let images = search.to_tensor();
    let evaluator = Evaluator::new(&model.graph, &images, search.labels(), settings).unwrap();
    let training = dataset.load_training().unwrap();
    Setup { model, quantizer, training, n_training: 448, evaluator }
}

impl Setup {
    /// These bits inside, 8 at both ends.
    fn policy(&self, inside: LayerBits) -> BitwidthPolicy {
        let mut policy = BitwidthPolicy::uniform(self.model.layers.len(), inside);
        let last = policy.len() - 1;
        policy.layers_mut()[0] = LayerBits::EIGHT;
        policy.layers_mut()[last] = LayerBits::EIGHT;
        policy
    }

    fn set(&self, labelled: bool) -> TrainingImages {
        let n = self.n_training;
        let labels = self.training.labels().map(|all| &all[..n]).filter(|_| labelled);
        TrainingImages::new(self.training.batch(0..n), labels, self.training.black())
    }

    fn start(&self, inside: LayerBits, settings: TrainingSettings) -> Training {
        self.try_start(inside, settings, true).unwrap()
    }

    fn try_start(
        &self,
        inside: LayerBits,
        settings: TrainingSettings,
        labelled: bool,
    ) -> Result<Training, QuantizationError> {
        let (norms, policy) = (&self.model.norms, self.policy(inside));
        Training::start(&self.quantizer, norms, &policy, self.set(labelled), settings)
    }

    fn quality(&self, network: &TunedNetwork) -> Quality {
        let graph = network.apply(&self.model.graph).unwrap();
        self.evaluator.evaluate(&graph).unwrap().quality
    }
}

fn quick() -> TrainingSettings {
    TrainingSettings { epochs: 3, learning_rate: 0.02, batch: 16, ..TrainingSettings::default() }
}

fn train(training: &mut Training, epochs: u32, threads: usize) {
    for _ in 0..epochs {
        let report = training.epoch(threads, &mut |_| true).unwrap().expect("nothing stops it");
        assert!(report.loss.is_finite());
    }
}

#[test]
fn training_starts_as_the_post_training_network() {
    let setup = setup(None);
    let rounded = setup.quantizer.apply(&setup.policy(bits(2, 3))).unwrap();
    let expected = setup.evaluator.evaluate(&rounded).unwrap().quality;
    for batch_norm in [BatchNormTraining::Folded, BatchNormTraining::Fold, BatchNormTraining::Keep]
    {
        let settings = TrainingSettings { batch_norm, ..quick() };
        let start = setup.start(bits(2, 3), settings).network().unwrap();
        let found = setup.quality(&start);
        assert_eq!(found.top1, expected.top1, "{batch_norm}");
        let apart = (found.kl.unwrap() - expected.kl.unwrap()).abs();
        assert!(apart < 1e-3, "{batch_norm}: {found:?} {expected:?}");
        if batch_norm == BatchNormTraining::Folded {
            let graph = start.apply(&setup.model.graph).unwrap();
            assert_eq!(graph, rounded, "without norms the numbers are the same to the last bit");
        }
    }
}

#[test]
fn two_bits_answer_better_after_training_in_every_way_to_train() {
    let mut setup = setup(None);
    setup.n_training = setup.training.len();
    let quick = || TrainingSettings { epochs: 2, ..quick() };
    let start = setup.start(bits(2, 2), quick()).network().unwrap();
    let before = setup.quality(&start).kl.unwrap();
    for settings in [
        quick(),
        TrainingSettings {
            batch_norm: BatchNormTraining::Fold,
            learning_rate: 0.005,
            batch: 32,
            ..quick()
        },
        TrainingSettings { ranges: RangeLearning::Pact, ..quick() },
        TrainingSettings { ranges: RangeLearning::Ema, delay_steps: 5, ..quick() },
        TrainingSettings { augmentation: Augmentation::Crop, distillation: 0.0, ..quick() },
        TrainingSettings { batch_norm: BatchNormTraining::Folded, learning_rate: 0.005, ..quick() },
    ] {
        let mut training = setup.start(bits(2, 2), settings);
        train(&mut training, 2, 2);
        assert!(training.is_finished());
        let after = setup.quality(&training.network().unwrap()).kl.unwrap();
        assert!(after < 0.75 * before, "{settings:?}: {before} before, {after} after");
    }
}

#[test]
fn without_labels_the_float_network_is_teacher_enough() {
    let setup = setup(None);
    let mut training = setup.try_start(bits(2, 3), quick(), false).unwrap();
    let before = setup.quality(&training.network().unwrap()).kl.unwrap();
    train(&mut training, 3, 2);
    let after = setup.quality(&training.network().unwrap()).kl.unwrap();
    assert!(after < 0.7 * before, "{before} {after}");
}

#[test]
fn a_checkpoint_goes_on_as_if_never_stopped_with_any_number_of_threads() {
    let setup = setup(None);
    let settings = TrainingSettings { augmentation: Augmentation::Crop, ..quick() };
    let mut whole = setup.start(bits(2, 2), settings);
    train(&mut whole, 2, 1);
    let checkpoint = whole.checkpoint().unwrap();
    train(&mut whole, 1, 1);
    let mut resumed = setup.start(bits(2, 2), settings);
    resumed.restore(&checkpoint).unwrap();
    assert_eq!(resumed.epochs_done(), 2);
    train(&mut resumed, 1, 2);
    assert_eq!(resumed.network().unwrap(), whole.network().unwrap());
    assert_eq!(resumed.checkpoint().unwrap(), whole.checkpoint().unwrap());

    let mut other = setup.start(bits(2, 2), TrainingSettings { seed: 1, ..settings });
    other.restore(&checkpoint).unwrap();
    train(&mut other, 1, 1);
    assert_ne!(other.network().unwrap(), whole.network().unwrap(), "another seed, other batches");
}

#[test]
fn a_checkpoint_of_another_training_is_refused() {
    let setup = setup(None);
    let mut folded = setup
        .start(bits(2, 2), TrainingSettings { batch_norm: BatchNormTraining::Folded, ..quick() });
    let kept = setup.start(bits(2, 2), quick()).checkpoint().unwrap();
    for (bytes, expected) in [
        (&kept[..], "/value is missing"),
        (&kept[..100], "cut short"),
        (&[], "shorter than eight bytes"),
    ] {
        let error = folded.restore(bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_loss_that_is_no_number_is_told_with_its_place() {
    let setup = setup(None);
    let settings = TrainingSettings { learning_rate: 1e30, ..quick() };
    let mut training = setup.start(bits(4, 4), settings);
    let error = training.epoch(1, &mut |_| true).unwrap_err();
    assert!(matches!(error, QuantizationError::LossNotFinite { epoch: 0, .. }), "{error}");
    assert!(error.to_string().contains("a smaller learning rate may help"), "{error}");
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let mut setup = setup(None);
    let no_teacher = TrainingSettings { distillation: 0.0, ..quick() };
    let error = setup.try_start(bits(4, 4), no_teacher, false).err().unwrap();
    assert!(matches!(error, QuantizationError::NothingToLearnFrom), "{error}");
    let error = setup.try_start(bits(4, 4), TrainingSettings { batch: 0, ..quick() }, true);
    assert!(error.err().unwrap().to_string().contains("the batch is 0"));
    setup.model.norms.clear();
    let error = setup.try_start(bits(4, 4), quick(), true).err().unwrap();
    assert!(matches!(error, QuantizationError::NoBatchNorm), "{error}");
}

#[test]
fn stopping_says_so_and_counts_no_epoch() {
    let setup = setup(None);
    let mut training = setup.start(bits(4, 4), quick());
    let mut steps = 0;
    let report = training.epoch(1, &mut |_| {
        steps += 1;
        steps < 3
    });
    assert_eq!((report.unwrap(), steps, training.epochs_done()), (None, 3, 0));
}

#[test]
fn a_tuned_network_is_read_from_its_file_as_it_was() {
    let setup = setup(None);
    let mut training = setup.start(bits(2, 2), quick());
    train(&mut training, 1, 1);
    let network = training.network().unwrap();
    let file = TensorFile::parse(&network.to_file("abc").to_bytes()).unwrap();
    assert_eq!(TunedNetwork::of_file(&file).unwrap(), (network.clone(), "abc".to_owned()));
    assert_eq!(network.policy(), setup.policy(bits(2, 2)));
    let onnx = network.apply_weights(&setup.model.graph).unwrap().to_onnx().unwrap();
    let read = Graph::from_bytes(onnx, None).unwrap().folded().unwrap();
    for (layer, tuned) in read.quantizable_layers().iter().zip(&network.layers) {
        assert_eq!(read.constant(layer.weight), Some(&tuned.weight), "{}", layer.name);
    }

    let other = self::setup(Some("tests/networks/binary_digits.onnx")).model.graph;
    let error = network.apply(&other).unwrap_err().to_string();
    assert!(error.contains("layers, the network"), "{error}");
    let name = &network.layers[0].name;
    let damaged = |change: &dyn Fn(&mut TensorFile)| {
        let mut file = file.clone();
        change(&mut file);
        TunedNetwork::of_file(&file).unwrap_err().to_string()
    };
    let missing = damaged(&|file| drop(file.arrays.remove(&format!("{name}.weight"))));
    assert!(missing.contains("weight is missing"), "{missing}");
    let nothing = damaged(&|file| file.texts.clear());
    assert!(nothing.contains("holds no tuned network"), "{nothing}");
}

/// Hidden layers of one bit: their weights are signs times a scale, and so is what they read.
/// On integers, by popcounts of packed signs too, they answer alike.
#[test]
fn a_binary_network_is_trained_from_nothing() {
    let setup = setup(Some("tests/networks/binary_digits.onnx"));
    let settings =
        TrainingSettings { epochs: 6, learning_rate: 0.05, distillation: 0.0, ..quick() };
    let mut training = setup.start(bits(1, 1), settings);
    train(&mut training, 6, 2);
    let network = training.network().unwrap();
    let top1 = setup.quality(&network).top1.unwrap();
    assert!(top1 > 0.8, "{top1}");
    let hidden = &network.layers[1..network.layers.len() - 1];
    assert!(!hidden.is_empty());
    for layer in hidden {
        let (weight, scales) = (layer.weight.as_f32().unwrap(), layer.scales.as_f32().unwrap());
        for (row, scale) in weight.chunks(weight.len() / scales.len()).zip(scales) {
            assert!(*scale > 0.0 && row.iter().all(|w| w.abs() == *scale), "{}", layer.name);
        }
    }
    let signs = network.roundings.iter().filter(|r| matches!(r.op, Op::Binarize { .. }));
    assert_eq!(signs.count(), hidden.len());
    for kernels in [KernelChoice::Int8, KernelChoice::Packed] {
        let integers = IntegerNetwork::of_quantized(
            network.apply(&setup.model.graph).unwrap(),
            &network.weight_grids(&setup.model.graph),
            &setup.training.batch(0..64),
            RangeRule::Mse,
            kernels,
        );
        let measured = setup.evaluator.evaluate_integer(&integers.unwrap()).unwrap();
        assert!(measured.same_class >= 0.999, "{kernels:?}: {}", measured.same_class);
        let apart = (measured.integer.quality.top1.unwrap() - top1).abs();
        assert!(apart <= 0.01, "{kernels:?}: {apart}");
    }
}
