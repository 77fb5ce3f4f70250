//! Single roundings and their evaluation from the first change on.

use haq::{
    data::{Card, DataSource, DataSpec, Overrides, SplitLimits, Splits},
    domain::{Bits, Operand},
    network::Graph,
    quantization::{
        EvaluationSettings, Evaluator, KEPT_BYTES, Method, PrefixEvaluator, Quantizer,
        SingleRoundings,
    },
    search::Model,
};
use network_common::shared;
use tch::Tensor;

mod network_common;

struct Setup {
    quantizer: Quantizer,
    evaluator: Evaluator,
}

/// A network with `n` images to judge it on and 64 others; several threads, so that batches are
/// taken in any order.
fn setup(model: Model, data: DataSource, n: usize, method: &str) -> Setup {
    let preprocessing = Card::resolve(model.card.as_ref(), &Overrides::default()).unwrap();
    let limits = SplitLimits { calibration: Some(64), search: Some(n), test: Some(1) };
    let spec = DataSpec { source: data, preprocessing, seed: 1, limits };
    let splits = Splits::load(&spec, &model.graph.input_shape().unwrap(), None).unwrap();
    let method: Method = method.parse().unwrap();
    let images: Tensor = splits.search.to_tensor();
    let settings = EvaluationSettings { threads: 2, ..Default::default() };
    let labels = splits.search.labels();
    let evaluator = Evaluator::new(&model.graph, &images, labels, settings).unwrap();
    let calibration = splits.calibration.to_tensor();
    let quantizer = Quantizer::calibrate(model.graph, &calibration, method).unwrap();
    Setup { quantizer, evaluator }
}

fn bits(width: u8) -> Bits {
    Bits::new(width).unwrap()
}

/// Every single rounding at 3 bits: where it first changes the network, and the network.
fn single_roundings(quantizer: &Quantizer) -> Vec<(usize, Graph)> {
    let mut roundings = SingleRoundings::new(quantizer);
    let mut all = Vec::new();
    for layer in 0..quantizer.layers().len() {
        for operand in Operand::ALL {
            let rounded = roundings.at(layer, operand, bits(3)).unwrap();
            all.push((rounded.first_changed, rounded.graph));
        }
    }
    all.sort_by_key(|(first_changed, _)| *first_changed);
    all
}

/// Whole evaluations and those from the first change on are equal, figure for figure.
fn assert_prefixes_change_nothing(setup: &Setup, kept_bytes: usize) {
    let base = setup.quantizer.graph();
    let mut prefix = PrefixEvaluator::new(&setup.evaluator, base, kept_bytes).unwrap();
    for (first_changed, graph) in single_roundings(&setup.quantizer) {
        let whole = setup.evaluator.evaluate(&graph).unwrap().quality;
        let found = prefix.evaluate(first_changed, &[graph]).unwrap();
        assert_eq!(found, [whole], "from node {first_changed}");
    }
}

#[test]
fn evaluation_from_the_first_change_equals_evaluation_of_the_whole_network() {
    for method in ["gptq", "gptq-stored", "min-max"] {
        let setup = setup(Model::load(None).unwrap(), DataSource::Embedded, 150, method);
        for kept_bytes in [KEPT_BYTES, 3 * 20_000, 0] {
            assert_prefixes_change_nothing(&setup, kept_bytes);
        }
    }
}

#[test]
fn skip_connections_are_fed_with_the_rest() {
    let Some(model) = shared("models/resnet20_cifar10.onnx") else { return };
    let Some(data) = shared("cifar10") else { return };
    let setup = setup(Model::load(Some(&model)).unwrap(), DataSource::Path(data), 70, "mse");
    assert_prefixes_change_nothing(&setup, KEPT_BYTES);
}

#[test]
fn going_back_to_an_earlier_change_starts_again() {
    let setup = setup(Model::load(None).unwrap(), DataSource::Embedded, 70, "mse");
    let base = setup.quantizer.graph();
    let mut prefix = PrefixEvaluator::new(&setup.evaluator, base, KEPT_BYTES).unwrap();
    for (first_changed, graph) in single_roundings(&setup.quantizer).into_iter().rev() {
        let whole = setup.evaluator.evaluate(&graph).unwrap().quality;
        assert_eq!(prefix.evaluate(first_changed, &[graph]).unwrap(), [whole]);
    }
}

#[test]
fn a_single_rounding_changes_one_tensor_and_nothing_else() {
    let setup = setup(Model::load(None).unwrap(), DataSource::Embedded, 1, "mse");
    let (base, layers) = (setup.quantizer.graph(), setup.quantizer.layers());
    let mut roundings = SingleRoundings::new(&setup.quantizer);
    for (index, layer) in layers.iter().enumerate() {
        let weights = roundings.at(index, Operand::Weight, bits(2)).unwrap();
        assert_eq!(weights.graph.nodes().len(), base.nodes().len());
        let changed: Vec<&str> = layers
            .iter()
            .filter(|other| weights.graph.constant(other.weight) != base.constant(other.weight))
            .map(|other| other.name.as_str())
            .collect();
        assert_eq!(changed, [&layer.name]);
        let numbers =
            |graph: &Graph| graph.constant(layer.weight).unwrap().as_f32().unwrap().to_vec();
        let error: f64 = numbers(base)
            .iter()
            .zip(numbers(&weights.graph))
            .map(|(a, b)| f64::from(a - b).powi(2))
            .sum();
        assert!((weights.squared_error.unwrap() - error).abs() < 1e-6 * error);

        let activations = roundings.at(index, Operand::Activation, bits(2)).unwrap();
        assert_eq!(activations.squared_error, None);
        let rounding = activations.graph.nodes().iter().filter(|node| node.op.rounds());
        assert_eq!(rounding.map(|node| node.input(0)).collect::<Vec<_>>(), [Some(layer.input)]);
        let kept = layers
            .iter()
            .all(|other| activations.graph.constant(other.weight) == base.constant(other.weight));
        assert!(kept, "weights stay in float");
    }
}

#[test]
fn more_bits_lose_less_over_all_layers() {
    let setup = setup(Model::load(None).unwrap(), DataSource::Embedded, 150, "mse");
    let mut roundings = SingleRoundings::new(&setup.quantizer);
    let mut kl = |operand, width| -> f64 {
        (0..setup.quantizer.layers().len())
            .map(|layer| {
                let graph = roundings.at(layer, operand, bits(width)).unwrap().graph;
                setup.evaluator.evaluate(&graph).unwrap().quality.kl.unwrap()
            })
            .sum()
    };
    for operand in Operand::ALL {
        let sums = [2, 4, 8].map(|width| kl(operand, width));
        assert!(sums[0] > 4.0 * sums[1] && sums[1] > 4.0 * sums[2], "{operand}: {sums:?}");
    }
}
