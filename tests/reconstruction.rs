//! Learned rounding of the embedded network: what it may change, and that it helps.

use haq::{
    data::{Card, DataSource, DataSpec, Overrides, Preprocessing, SplitLimits, Splits},
    domain::{Bits, BitwidthPolicy, LayerBits},
    network::{Graph, Op},
    quantization::{
        EvaluationSettings, Evaluator, Method, Quantizer, Reconstruction, ReconstructionSettings,
        ReconstructionUnit, RoundingStart,
    },
    search::Model,
};
use tch::Tensor;

struct Setup {
    quantizer: Quantizer,
    calibration: Tensor,
    images: Tensor,
    policy: BitwidthPolicy,
}

/// Two-bit weights inside, 8 bits at both ends.
fn setup(activation_bits: u8) -> Setup {
    tch::set_num_threads(1);
    let model = Model::load(None).unwrap();
    let preprocessing: Preprocessing =
        Card::resolve(model.card.as_ref(), &Overrides::default()).unwrap();
    let limits = SplitLimits { calibration: Some(128), search: Some(200), test: Some(1) };
    let spec = DataSpec { source: DataSource::Embedded, preprocessing, seed: 1, limits };
    let splits = Splits::load(&spec, &model.graph.input_shape().unwrap(), None).unwrap();
    let calibration = splits.calibration.to_tensor();
    let quantizer = Quantizer::calibrate(model.graph, &calibration, Method::default()).unwrap();
    let bits = LayerBits::new(Bits::new(2).unwrap(), Bits::new(activation_bits).unwrap());
    let mut policy = BitwidthPolicy::uniform(quantizer.layers().len(), bits);
    let last = policy.len() - 1;
    policy.layers_mut()[0] = LayerBits::EIGHT;
    policy.layers_mut()[last] = LayerBits::EIGHT;
    Setup { quantizer, calibration, images: splits.search.to_tensor(), policy }
}

fn quick(settings: ReconstructionSettings) -> ReconstructionSettings {
    ReconstructionSettings { iterations: 100, ..settings }
}

fn refine(setup: &Setup, settings: ReconstructionSettings) -> Reconstruction {
    setup.quantizer.refine(&setup.policy, &setup.calibration, &settings).unwrap()
}

#[test]
fn learned_networks_are_nearer_to_float_than_rounded_ones() {
    let setup = setup(4);
    let settings = EvaluationSettings::default();
    let evaluator = Evaluator::new(setup.quantizer.graph(), &setup.images, None, settings).unwrap();
    let divergence = |graph: &Graph| evaluator.evaluate(graph).unwrap().quality.kl.unwrap();
    let rounded = divergence(&setup.quantizer.apply(&setup.policy).unwrap());
    for settings in [
        ReconstructionSettings::layers(),
        ReconstructionSettings::blocks(),
        ReconstructionSettings { fisher: true, drop: 0.5, ..ReconstructionSettings::blocks() },
        ReconstructionSettings {
            start: RoundingStart::Fraction,
            ..ReconstructionSettings::layers()
        },
    ] {
        let learned = divergence(&refine(&setup, quick(settings)).graph);
        assert!(learned < 0.9 * rounded, "{settings:?}: {learned} {rounded}");
    }
}

#[test]
fn no_segment_ends_farther_from_float_than_it_began() {
    let setup = setup(3);
    for unit in [ReconstructionUnit::Layer, ReconstructionUnit::Block] {
        let settings = ReconstructionSettings::of_unit(unit);
        // Far too fast a rate: what it learns is worse than what it began with.
        let wild = ReconstructionSettings { bias_rate: 1e3, iterations: 5, ..settings };
        let idle = ReconstructionSettings { iterations: 0, batch: 0, ..settings };
        for (settings, gains) in [(quick(settings), true), (wild, false), (idle, false)] {
            let learned = refine(&setup, settings);
            let covered: usize = learned.segments.iter().map(|s| s.segment.layers.len()).sum();
            assert_eq!(covered, setup.policy.len());
            assert!(learned.segments.iter().all(|s| s.after <= s.before), "{unit:?}");
            assert_eq!(learned.segments.iter().any(|s| s.after < s.before), gains, "{unit:?}");
            if !gains {
                assert_eq!(learned.graph, setup.quantizer.apply(&setup.policy).unwrap());
            }
        }
    }
}

#[test]
fn weights_stay_on_their_grids_and_grids_keep_their_levels() {
    let setup = setup(4);
    let before = setup.quantizer.apply(&setup.policy).unwrap();
    let learned = refine(&setup, quick(ReconstructionSettings::blocks())).graph;
    let mut changed = 0;
    for (index, layer) in setup.quantizer.layers().iter().enumerate() {
        let bits = setup.policy.layers()[index].weight;
        let rounded = setup.quantizer.rounded(index, bits).unwrap();
        let weights = learned.constant(layer.weight).unwrap();
        let per_row = weights.len() / rounded.grids.len();
        // The embedded network's weights lie row by row.
        for (row, grid) in weights.as_f32().unwrap().chunks(per_row).zip(&rounded.grids) {
            for &weight in row {
                assert_eq!(grid.round(weight), weight, "{}", layer.name);
            }
        }
        let learned = before.constant(layer.weight) != Some(weights);
        assert!(!learned || bits.get() < 8, "8 bits are left alone");
        changed += usize::from(learned);
    }
    assert!(changed > setup.policy.len() / 3, "{changed}");
    let grids = |graph: &Graph| -> Vec<(i32, i32, i32)> {
        let of = |op: &Op| match op {
            Op::FakeQuantize(grid) => Some((grid.zero_point, grid.low, grid.high)),
            _ => None,
        };
        graph.nodes().iter().filter_map(|node| of(&node.op)).collect()
    };
    assert_eq!(grids(&learned), grids(&before));
    assert!(!grids(&before).is_empty());
}

#[test]
fn a_seed_gives_one_network_and_another_seed_another() {
    let setup = setup(4);
    let with_seed = |seed| {
        let settings = ReconstructionSettings { seed, ..ReconstructionSettings::blocks() };
        refine(&setup, ReconstructionSettings { iterations: 20, ..settings }).graph
    };
    let first = with_seed(1);
    assert_eq!(first, with_seed(1));
    assert_ne!(first, with_seed(2));
}

#[test]
fn a_method_that_names_a_unit_learns_at_every_policy() {
    let method: Method = "block".parse().unwrap();
    assert_eq!(method.reconstruction, Some(ReconstructionUnit::Block));
    let method: Method = "adaround".parse().unwrap();
    assert_eq!(method.reconstruction, Some(ReconstructionUnit::Layer));
}

#[test]
fn no_image_to_learn_from_is_refused() {
    let setup = setup(4);
    let none = setup.calibration.narrow(0, 0, 0);
    let settings = ReconstructionSettings::blocks();
    let error = setup.quantizer.refine(&setup.policy, &none, &settings).err().unwrap();
    assert!(error.to_string().contains("there is no image"), "{error}");
}
