//! Whole networks on integers beside the float networks that round at the same places.

mod network_common;

use haq::{
    data::{Card, DataSource, DataSpec, Overrides, SplitLimits, Splits},
    domain::{Bits, BitwidthPolicy, LayerBits},
    network::Graph,
    quantization::{
        EvaluationSettings, Evaluator, IntegerMeasured, IntegerNetwork, KernelChoice, Method,
        Quantizer, RangeRule,
    },
    search::{Model, with_shared_tensors},
};
use network_common::{cifar10_test, shared};
use tch::Tensor;

fn bits(weight: u8, activation: u8) -> LayerBits {
    LayerBits::new(Bits::new(weight).unwrap(), Bits::new(activation).unwrap())
}

/// These bits in turn, layer by layer.
fn policy(quantizer: &Quantizer, pairs: &[(u8, u8)]) -> BitwidthPolicy {
    let turns = pairs.iter().cycle().take(quantizer.layers().len());
    let policy = BitwidthPolicy::new(turns.map(|&(w, a)| bits(w, a)).collect());
    with_shared_tensors(quantizer.layers(), policy)
}

struct Setup {
    quantizer: Quantizer,
    range: RangeRule,
    calibration: Tensor,
    images: Tensor,
    labels: Vec<i64>,
}

impl Setup {
    fn new(
        graph: Graph,
        calibration: Tensor,
        images: Tensor,
        labels: Vec<i64>,
        method: &str,
    ) -> Self {
        let method: Method = method.parse().unwrap();
        let quantizer = Quantizer::calibrate(graph, &calibration, method).unwrap();
        Self { quantizer, range: method.activation_range, calibration, images, labels }
    }

    fn digits(method: &str) -> Self {
        let model = Model::load(None).unwrap();
        let preprocessing = Card::resolve(model.card.as_ref(), &Overrides::default()).unwrap();
        let limits = SplitLimits { calibration: Some(100), search: Some(1), test: Some(200) };
        let spec = DataSpec { source: DataSource::Embedded, preprocessing, seed: 1, limits };
        let splits = Splits::load(&spec, &model.graph.input_shape().unwrap(), None).unwrap();
        let labels = splits.test.labels().unwrap().to_vec();
        let images = splits.test.to_tensor();
        Self::new(model.graph, splits.calibration.to_tensor(), images, labels, method)
    }

    fn measure(
        &self,
        pairs: &[(u8, u8)],
        kernels: KernelChoice,
        threads: usize,
    ) -> IntegerMeasured {
        let policy = policy(&self.quantizer, pairs);
        let network = IntegerNetwork::of_quantized(
            self.quantizer.apply(&policy).unwrap(),
            &self.quantizer.weight_grids(&policy).unwrap(),
            &self.calibration,
            self.range,
            kernels,
        )
        .unwrap();
        let settings = EvaluationSettings { threads, ..Default::default() };
        let graph = self.quantizer.graph();
        let evaluator = Evaluator::new(graph, &self.images, Some(&self.labels), settings).unwrap();
        evaluator.evaluate_integer(&network).unwrap()
    }
}

fn assert_agrees(name: &str, measured: &IntegerMeasured) {
    assert!(measured.same_class >= 0.999, "{name}: {}", measured.same_class);
    let top1 = |quality: haq::domain::Quality| quality.top1.unwrap();
    let (a, b) = (top1(measured.integer.quality), top1(measured.fake_quantized.quality));
    assert!((a - b).abs() <= 0.001, "{name}: {a} and {b}");
    let mse = |quality: haq::domain::Quality| quality.mse.unwrap();
    let (a, b) = (mse(measured.integer.quality), mse(measured.fake_quantized.quality));
    assert!((a - b).abs() <= 0.01 * b, "{name}: squared error {a} and {b}");
}

#[test]
fn the_digits_network_answers_alike_on_integers_and_floats() {
    for (method, policies) in [
        ("min-max", &[&[(8, 8)][..], &[(4, 4)], &[(8, 6), (4, 3), (3, 8)], &[(2, 5), (1, 2)]][..]),
        ("gptq-stored", &[&[(5, 4), (3, 6)]]),
    ] {
        let setup = Setup::digits(method);
        for pairs in policies {
            let measured = setup.measure(pairs, KernelChoice::Int8, 2);
            assert_agrees(&format!("{method} at {pairs:?}"), &measured);
        }
    }
}

#[test]
fn kernels_and_threads_change_nothing() {
    let setup = Setup::digits("min-max");
    let pairs = &[(4, 3), (1, 8), (8, 8), (8, 2)];
    let one = setup.measure(pairs, KernelChoice::Int8, 1);
    for (kernels, threads) in [(KernelChoice::Int8, 3), (KernelChoice::Packed, 2)] {
        let other = setup.measure(pairs, kernels, threads);
        assert_eq!(other.integer.quality, one.integer.quality, "{kernels:?}, {threads}");
        assert_eq!(other.fake_quantized.quality, one.fake_quantized.quality, "{threads}");
        assert_eq!(other.same_class, one.same_class);
    }
}

#[test]
fn eight_bits_on_integers_stay_near_the_float_network() {
    let measured = Setup::digits("gptq").measure(&[(8, 8)], KernelChoice::Int8, 2);
    assert!(measured.integer.quality.agreement.unwrap() > 0.985);
    assert!(measured.integer.quality.kl.unwrap() < 0.005);
}

#[test]
fn resnet20_answers_alike_on_integers_and_floats() {
    let Some(path) = shared("models/resnet20_cifar10.onnx") else { return };
    let Some(data) = cifar10_test() else { return };
    let graph = Graph::load(path).and_then(|graph| graph.folded()).unwrap();
    let labels = Vec::<i64>::try_from(data.labels.narrow(0, 32, 120)).unwrap();
    let (calibration, images) = (data.images.narrow(0, 0, 32), data.images.narrow(0, 32, 120));
    let setup = Setup::new(graph, calibration, images, labels, "min-max");
    for pairs in [&[(8, 8)][..], &[(4, 4)]] {
        let measured = setup.measure(pairs, KernelChoice::Int8, 2);
        assert_agrees(&format!("{pairs:?}"), &measured);
    }
}
