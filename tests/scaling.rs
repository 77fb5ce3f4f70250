//! Equalization, absorption and smoothing of real networks: the function stays, quality gains.

mod network_common;

use haq::{
    data::{Card, DataSource, DataSpec, Overrides, Preprocessing, SplitLimits, Splits},
    domain::{Bits, BitwidthPolicy, LayerBits},
    network::{Executable, Graph, Op},
    quantization::{EvaluationSettings, Evaluator, Method, Preparation, Quantizer, equalize},
    search::Model,
};
use network_common::shared;
use tch::{Device, Kind, Tensor};

fn largest_difference(a: &Graph, b: &Graph, images: &Tensor) -> f64 {
    tch::set_num_threads(1);
    let run = |graph: &Graph| Executable::new(graph, Device::Cpu).unwrap().run(images).unwrap();
    let (a, b) = (run(a), run(b));
    (&a - b).abs().max().double_value(&[]) / a.abs().max().double_value(&[])
}

/// Numbers that look like an image, the same at every call.
fn waves(shape: &[i64]) -> Tensor {
    let n: i64 = shape.iter().product();
    ((Tensor::arange(n, (Kind::Float, Device::Cpu)) * 0.37).sin() * 1.5).view(shape)
}

#[test]
fn equalized_networks_answer_as_before() {
    let embedded = Model::load(None).unwrap();
    let mut cases = vec![("embedded", embedded.graph, vec![4, 1, 8, 8])];
    for (name, file, shape) in [
        ("resnet20", "models/resnet20_cifar10.onnx", vec![2, 3, 32, 32]),
        ("efficientnet-lite0", "models/efficientnet_lite0_imagenet.onnx", vec![1, 3, 224, 224]),
    ] {
        if let Some(path) = shared(file) {
            cases.push((name, Model::load(Some(&path)).unwrap().graph, shape));
        }
    }
    for (name, graph, shape) in cases {
        let (equalized, done) = equalize(graph.clone()).unwrap();
        assert!(done.n_pairs > 0, "{name}");
        assert_ne!(equalized, graph, "{name}");
        let moved = largest_difference(&graph, &equalized, &waves(&shape));
        assert!(moved < 1e-4, "{name}: {moved}");
        let clips = |graph: &Graph| {
            graph.nodes().iter().filter(|node| matches!(node.op, Op::Clip { .. })).count()
        };
        let minima = equalized.nodes().iter().filter(|node| node.op == Op::Min).count();
        assert_eq!(clips(&graph) - clips(&equalized), minima, "{name}: a clip became a minimum");
    }
}

fn splits(model: &Model) -> Splits {
    let preprocessing: Preprocessing =
        Card::resolve(model.card.as_ref(), &Overrides::default()).unwrap();
    let limits = SplitLimits { calibration: Some(128), search: Some(200), test: Some(1) };
    let spec = DataSpec { source: DataSource::Embedded, preprocessing, seed: 1, limits };
    Splits::load(&spec, &model.graph.input_shape().unwrap(), None).unwrap()
}

#[test]
fn preparations_keep_the_answers_of_the_float_network() {
    let model = Model::load(None).unwrap();
    let splits = splits(&model);
    let (calibration, images) = (splits.calibration.to_tensor(), splits.search.to_tensor());
    // Absorption moves the rare values that reach below a mean by three deviations.
    for (preparation, limit) in [(Preparation::Smooth(0.5), 1e-4), (Preparation::Equalize, 0.05)] {
        let prepared = preparation.apply(model.graph.clone(), &calibration).unwrap();
        assert_ne!(prepared, model.graph, "{preparation:?}");
        let moved = largest_difference(&model.graph, &prepared, &images);
        assert!(moved < limit, "{preparation:?}: {moved}");
    }
}

#[test]
fn data_free_quantization_is_nearer_to_float_than_plain_rounding() {
    let divergence = |method: &str| {
        let model = Model::load(None).unwrap();
        let splits = splits(&model);
        let evaluator = Evaluator::new(
            &model.graph,
            &splits.search.to_tensor(),
            None,
            EvaluationSettings::default(),
        )
        .unwrap();
        let method: Method = method.parse().unwrap();
        let calibration = splits.calibration.to_tensor();
        let quantizer = Quantizer::calibrate(model.graph, &calibration, method).unwrap();
        let bits = LayerBits::new(Bits::new(4).unwrap(), Bits::new(8).unwrap());
        let policy = BitwidthPolicy::uniform(quantizer.layers().len(), bits);
        evaluator.evaluate(&quantizer.apply(&policy).unwrap()).unwrap().quality.kl.unwrap()
    };
    let (data_free, plain) = (divergence("dfq"), divergence("min-max"));
    assert!(data_free < plain, "{data_free} {plain}");
}
