//! Quantized networks as files: what is written is what was judged, and comes back with its bits.

use std::collections::BTreeMap;

use haq::{
    data::{Card, DataSource, DataSpec, Overrides, SplitLimits, Splits},
    domain::{Bits, BitwidthPolicy, LayerBits},
    export::{
        AimetVersion, Change, Deployment, PolicyFile, Target, aimet_encodings, bits_of_encodings,
    },
    network::{Executable, Graph, OnnxForm, QuantizableLayer},
    quantization::{Method, Quantizer},
    search::Model,
};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

const QDQ: OnnxForm = OnnxForm::Qdq { two_bits: false };

fn bits(weight: u8, activation: u8) -> LayerBits {
    LayerBits::new(Bits::new(weight).unwrap(), Bits::new(activation).unwrap())
}

struct Setup {
    model: Model,
    calibration: Tensor,
    images: Tensor,
}

fn setup() -> Setup {
    let model = Model::load(None).unwrap();
    let preprocessing = Card::resolve(model.card.as_ref(), &Overrides::default()).unwrap();
    let limits = SplitLimits { calibration: Some(96), search: Some(64), test: Some(1) };
    let spec = DataSpec { source: DataSource::Embedded, preprocessing, seed: 1, limits };
    let splits = Splits::load(&spec, &model.graph.input_shape().unwrap(), None).unwrap();
    let (calibration, images) = (splits.calibration.to_tensor(), splits.search.to_tensor());
    Setup { model, calibration, images }
}

impl Setup {
    fn quantized(&self, method: &str, policy: &BitwidthPolicy) -> Graph {
        let method: Method = method.parse().unwrap();
        let graph = self.model.graph.clone();
        Quantizer::calibrate(graph, &self.calibration, method).unwrap().apply(policy).unwrap()
    }

    fn run(&self, graph: &Graph) -> Tensor {
        Executable::new(graph, Device::Cpu).unwrap().run(&self.images).unwrap()
    }

    /// Bits that go through all widths, another for weights and activations.
    fn mixed(&self) -> BitwidthPolicy {
        let n = self.model.layers.len();
        let width = |at: usize| 2 + (at % 7) as u8;
        BitwidthPolicy::new((0..n).map(|at| bits(width(at), width(at + 3))).collect())
    }
}

fn read_back(graph: &Graph, form: OnnxForm) -> Graph {
    let file = graph.to_onnx_file(form, &BTreeMap::new()).unwrap();
    Graph::from_bytes(file.to_bytes(), None).unwrap()
}

/// The bits that a graph's own codes have, `-` for what is in float.
fn stored(graph: &Graph) -> String {
    let shown = |bits: Option<u8>| bits.map_or("-".to_owned(), |bits| bits.to_string());
    let layers = graph.quantizable_layers();
    let all = layers.iter().map(|layer| graph.stored_bits(layer).map(shown).join("/"));
    all.collect::<Vec<_>>().join(" ")
}

#[test]
fn each_kind_of_levels_is_written_and_read_back_to_the_last_bit() {
    let setup = setup();
    let policy = setup.mixed();
    let methods = [
        "gptq",
        "adaround",
        "affine",
        "per-tensor",
        "dynamic",
        "dynamic-row",
        "aciq",
        "aciq-allocated",
        "haq",
        "min-max",
    ];
    for name in methods {
        let forms = match name {
            // What is found at run time is written as plain operations.
            "dynamic" | "dynamic-row" => vec![QDQ],
            _ => vec![QDQ, OnnxForm::Qonnx],
        };
        for form in forms {
            let quantized = setup.quantized(name, &policy);
            let deployment = Deployment::new(quantized, form, None).unwrap();
            let again = read_back(&deployment.graph, form);
            let (expected, found) = (setup.run(&deployment.graph), setup.run(&again));
            let off = (&expected - &found).abs().max().double_value(&[]);
            assert!(off == 0.0 || (name.starts_with("dynamic") && off < 1e-5), "{name}: {off}");
            if form == QDQ && !name.starts_with("dynamic") {
                // A narrow layer may need fewer bits than it was given, never more.
                for (found, given) in stored(&again).split(' ').zip(policy.layers()) {
                    let (weight, activation) = found.split_once('/').unwrap();
                    let is_shared_out = name == "aciq-allocated";
                    let most = if is_shared_out { 8 } else { given.weight.get() };
                    assert!(weight.parse::<u8>().unwrap() <= most, "{name}");
                    assert_eq!(activation, given.activation.get().to_string(), "{name}");
                }
            }
        }
    }
}

#[test]
fn one_bit_comes_back_as_one_bit() {
    let setup = setup();
    let policy = BitwidthPolicy::uniform(setup.model.layers.len(), bits(1, 1));
    let quantized = setup.quantized("gptq", &policy);
    for form in [QDQ, OnnxForm::Qonnx] {
        let deployment = Deployment::new(quantized.clone(), form, None).unwrap();
        let again = read_back(&deployment.graph, form);
        assert_eq!(stored(&again), vec!["1/1"; setup.model.layers.len()].join(" "), "{form:?}");
        let difference = setup.run(&deployment.graph) - setup.run(&again);
        assert_eq!(difference.abs().max().double_value(&[]), 0.0, "{form:?}");
    }
}

#[test]
fn codes_are_packed_as_narrowly_as_their_type() {
    let setup = setup();
    let n_weights: u64 = setup
        .model
        .layers
        .iter()
        .map(|layer| setup.model.graph.constant(layer.weight).unwrap().len() as u64)
        .sum();
    for (width, form, expected_bits) in [
        (8, QDQ, 8),
        (7, QDQ, 8),
        (4, QDQ, 4),
        (3, QDQ, 4),
        (2, QDQ, 4),
        (2, OnnxForm::Qdq { two_bits: true }, 2),
    ] {
        let policy = BitwidthPolicy::uniform(setup.model.layers.len(), bits(width, 8));
        let deployment = Deployment::new(setup.quantized("mse", &policy), form, None).unwrap();
        let stored = deployment.graph.to_onnx_file(form, &BTreeMap::new()).unwrap().stored();
        let exact = n_weights * expected_bits / 8;
        // A layer's last byte may be open.
        assert!((exact..exact + 4).contains(&stored.code_bytes), "{width}: {stored:?}, {exact}");
    }
}

#[test]
fn biases_are_codes_of_the_products_scale_and_move_little() {
    let setup = setup();
    let n_layers = setup.model.layers.len();
    let mut n_coded = Vec::new();
    for width in [2, 4, 8] {
        let policy = BitwidthPolicy::uniform(n_layers, bits(width, width));
        let quantized = setup.quantized("gptq", &policy);
        let deployment = Deployment::new(quantized.clone(), QDQ, None).unwrap();
        let layers = deployment.graph.quantizable_layers();
        let coded = |layer: &&QuantizableLayer| {
            layer.bias.is_some_and(|bias| deployment.graph.coding(bias).is_some())
        };
        n_coded.push(layers.iter().filter(coded).count());
        let (before, after) = (setup.run(&quantized), setup.run(&deployment.graph));
        let off = (&before - after).square().mean(Kind::Double);
        let off = off / before.square().mean(Kind::Double);
        assert!(off.double_value(&[]) < 0.01, "{width} bits: {off:?}");
    }
    // Where a step is coarse the bias stays in float.
    assert!(n_coded[0] == 0 && n_coded.is_sorted(), "{n_coded:?}");
    assert_eq!(n_coded[2], n_layers);
}

#[test]
fn targets_widen_what_they_cannot_run_and_say_so() {
    let setup = setup();
    let policy = setup.mixed();
    let new = |method, form, target| {
        Deployment::new(setup.quantized(method, &policy), form, Some(target))
    };
    let deployment = new("gptq", QDQ, Target::Tensorrt).unwrap();
    let said: Vec<&str> = deployment.changes.iter().map(|change| change.what.as_str()).collect();
    assert!(said.iter().any(|what| what.starts_with("activations: 8 bits signed instead of")));
    assert!(said.iter().any(|what| what.starts_with("weights: 8 bits a code")), "{said:?}");
    for layer in deployment.graph.quantizable_layers() {
        assert_eq!(deployment.graph.stored_bits(&layer), [Some(8), Some(8)]);
        assert!(deployment.graph.coding(layer.bias.unwrap()).is_none());
    }
    assert!(new("gptq", QDQ, Target::Onnxruntime).unwrap().changes.is_empty());
    let finn = new("gptq", OnnxForm::Qonnx, Target::Finn).unwrap();
    let of_both_signs = |change: &Change| change.what.ends_with("bits with a zero point");
    assert!(!finn.changes.is_empty() && finn.changes.iter().all(of_both_signs));
    for (method, form, target, expected) in [
        ("dynamic", QDQ, Target::Tensorrt, "its input's range is found at run time"),
        ("affine", QDQ, Target::Tensorrt, "its weights need zero points"),
        ("aciq", OnnxForm::Qonnx, Target::Finn, "its weights are moved by an offset"),
        ("gptq", QDQ, Target::Finn, "--target finn takes --format qonnx, not onnx"),
        ("gptq", OnnxForm::Qonnx, Target::Tensorrt, "--target tensorrt takes --format onnx"),
        ("codebook", QDQ, Target::Onnxruntime, "weights that are no multiples of a scale"),
    ] {
        let message = new(method, form, target).unwrap_err().to_string();
        assert!(message.contains(expected), "{method}: {message}");
    }
}

#[test]
fn encodings_hold_the_whole_policy() {
    let setup = setup();
    let policy = setup.mixed();
    let quantized = setup.quantized("gptq", &policy);
    for version in [AimetVersion::One, AimetVersion::Two] {
        let encodings = aimet_encodings(&quantized, version).unwrap();
        let found = bits_of_encodings(&encodings, &setup.model.graph).unwrap();
        let expected: Vec<_> = policy
            .layers()
            .iter()
            .map(|bits| [Some(bits.weight.get()), Some(bits.activation.get())])
            .collect();
        assert_eq!(found, expected, "{version}");
    }
    let first = aimet_encodings(&quantized, AimetVersion::One).unwrap();
    let entry = &first["param_encodings"][0];
    let half = 1i64 << (entry["bw"].as_u64().unwrap() - 1);
    assert_eq!(entry["offset"][0], -half);
    assert_eq!(entry["enc_type"], "PER_CHANNEL");
    let dynamic = setup.quantized("dynamic", &policy);
    let message = aimet_encodings(&dynamic, AimetVersion::Two).unwrap_err().to_string();
    assert!(message.contains("a range found at run time cannot be written"), "{message}");
}

#[test]
fn a_policy_file_is_what_its_schema_says() {
    let setup = setup();
    let policy = setup.mixed();
    let file = PolicyFile::new(&setup.model.layer_names(), &policy)
        .with_levels(&setup.quantized("aciq", &policy));
    let file: Value = serde_json::from_str(&file.text()).unwrap();
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/policy.schema.json");
    let schema: Value = serde_json::from_slice(&std::fs::read(schema).unwrap()).unwrap();
    let check = |found: &Value, described: &Value| {
        let found = found.as_object().unwrap();
        for key in found.keys() {
            assert!(described["properties"].get(key).is_some(), "{key} is not in the schema");
        }
        for key in described["required"].as_array().unwrap() {
            assert!(found.contains_key(key.as_str().unwrap()), "{key} is missing");
        }
    };
    check(&file, &schema);
    for layer in file["layers"].as_array().unwrap() {
        check(layer, &schema["properties"]["layers"]["items"]);
        check(&layer["weight"], &schema["$defs"]["levels"]);
        check(&layer["activation"], &schema["$defs"]["levels"]);
    }
}
