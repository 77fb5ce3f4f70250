//! Laws that hold for any layer, on every shipped profile.

mod common;

use std::{
    collections::BTreeMap,
    sync::{LazyLock, Mutex},
};

use common::{bits, builtin_text, profile, profiles};
use haq_simulator::{
    Bits, Compute, CostModel, DepthwiseMapping, Family, HardwareProfile, Layer, LayerBits,
    LayerCost, LayerKind, SerialOperands, TilingGoal, Workload,
};
use proptest::{
    prelude::*,
    test_runner::{RngSeed, TestCaseResult},
};

/// Any layer of a size a network could have.
fn any_layer() -> impl Strategy<Value = Layer> {
    let kind = prop_oneof![
        3 => Just(LayerKind::Conv),
        1 => Just(LayerKind::Depthwise),
        1 => Just(LayerKind::Linear)
    ];
    let shape = (1u64..96, 1u64..96, 1u64..6, 1u64..6, 1u64..4, 1u64..4);
    let map = (1u64..40, 1u64..40, 0u64..3, 1u64..3, 1u64..4, any::<bool>());
    (kind, shape, map).prop_map(|(kind, shape, map)| {
        let (c_in, c_out, kernel_h, kernel_w, stride_h, stride_w) = shape;
        let (in_h, in_w, pad, dilation, group, bias) = map;
        let conv = kind != LayerKind::Linear;
        let pick = |value: u64| if conv { value } else { 1 };
        let (groups, in_channels, out_channels) = match kind {
            LayerKind::Conv => (group, c_in * group, c_out * group),
            LayerKind::Depthwise => (c_in, c_in, c_in * group),
            LayerKind::Linear => (1, c_in * 16, c_out * 16),
        };
        let (kernel_h, kernel_w) = (pick(kernel_h), pick(kernel_w));
        let extent = |kernel: u64| (kernel - 1) * pick(dilation) + 1;
        let pad = if conv { pad } else { 0 };
        Layer {
            name: "any".to_owned(),
            kind,
            in_channels,
            out_channels,
            kernel_h,
            kernel_w,
            stride_h: pick(stride_h),
            stride_w: pick(stride_w),
            pad_top: pad,
            pad_left: pad,
            pad_bottom: pad,
            pad_right: pad,
            dilation_h: pick(dilation),
            dilation_w: pick(dilation),
            groups,
            in_h: if conv { in_h.max(extent(kernel_h)) } else { 1 },
            in_w: if conv { in_w.max(extent(kernel_w)) } else { 1 },
            bias,
        }
    })
}

fn any_bits() -> impl Strategy<Value = LayerBits> {
    (1u8..=8, 1u8..=8).prop_map(|(weight, activation)| bits(weight, activation))
}

fn model(profile: &HardwareProfile, layers: &[Layer], batch: u64) -> CostModel {
    CostModel::new(profile, &Workload::of_layers(layers.to_vec()), batch).unwrap()
}

/// One layer, two widths of which the second is nowhere below the first, and a batch.
struct Case {
    layer: Layer,
    low: LayerBits,
    high: LayerBits,
    batch: u64,
}

/// A profile with what the laws need to know of it.
struct Device {
    profile: HardwareProfile,
    /// Whether more bits never cost less: not with weights padded to the width of the array,
    /// and not where each width has kernels of its own efficiency.
    monotone: bool,
    /// Whether tilings are chosen for cycles, and so may move more for fewer of them.
    for_cycles: bool,
}

impl Device {
    fn new(profile: HardwareProfile) -> Self {
        let for_cycles = match profile.compute() {
            Compute::Fusion(array) => array.tiling == TilingGoal::FewestCycles,
            _ => false,
        };
        let own_kernels = match profile.compute() {
            Compute::TensorCore(array) => !array.efficiency_by_bits.is_empty(),
            _ => false,
        };
        Self { monotone: !for_cycles && !own_kernels, for_cycles, profile }
    }

    fn check(&self, case: &Case) -> TestCaseResult {
        let of_batch = model(&self.profile, std::slice::from_ref(&case.layer), case.batch);
        let of_one = model(&self.profile, std::slice::from_ref(&case.layer), 1);
        let (low, high) = (of_batch.layer(0, case.low), of_batch.layer(0, case.high));
        self.check_roofline(&of_batch, case.high)?;
        self.check_widths(case, &low, &high)?;
        self.check_batch(case.batch, &of_one.layer(0, case.high), &high)?;
        prop_assert_eq!(high, of_batch.clone().layer(0, case.high), "the same twice");
        prop_assert_eq!(high.latency_s, of_batch.layer_latency_s(0, case.high), "alone the same");
        Ok(())
    }

    /// Neither arithmetic nor bandwidth is beaten.
    fn check_roofline(&self, model: &CostModel, at: LayerBits) -> TestCaseResult {
        let detail = model.explain(0, &[at]);
        let (cost, roofline) = (detail.cost, detail.roofline);
        prop_assert!(cost.cycles >= cost.memory_cycles, "{cost:?}");
        prop_assert!(
            roofline.macs_per_s <= roofline.attainable_macs_per_s * (1.0 + 1e-9),
            "{roofline:?}"
        );
        let bandwidth = self.profile.bandwidth_bytes_per_s();
        prop_assert!(cost.dram_bytes as f64 - 1.0 <= bandwidth * cost.latency_s * (1.0 + 1e-9));
        prop_assert!(cost.utilization > 0.0 && cost.utilization <= 1.0, "{cost:?}");
        prop_assert!(cost.energy_j > 0.0 && cost.energy_j.is_finite());
        let clock_hz = self.profile.clock_hz();
        prop_assert!((cost.cycles - 1) as f64 <= cost.latency_s * clock_hz * (1.0 + 1e-9));
        Ok(())
    }

    /// More bits never cost less.
    fn check_widths(&self, case: &Case, low: &LayerCost, high: &LayerCost) -> TestCaseResult {
        prop_assert!(low.size_bytes <= high.size_bytes);
        if self.monotone {
            prop_assert!(low.latency_s <= high.latency_s * (1.0 + 1e-12), "{low:?} {high:?}");
            prop_assert!(low.energy_j <= high.energy_j * (1.0 + 1e-12), "{low:?} {high:?}");
            prop_assert!(low.dram_bytes <= high.dram_bytes, "{low:?} {high:?}");
        }
        match self.profile.compute() {
            // Fewer than the native bits buy no cycles.
            Compute::Systolic(_) => prop_assert_eq!(low.compute_cycles, high.compute_cycles),
            Compute::BitSerial(array) if array.operand_bits_per_cycle.is_some() => {
                let product =
                    |at: LayerBits| u64::from(at.weight.get()) * u64::from(at.activation.get());
                prop_assert_eq!(
                    low.compute_cycles * product(case.high),
                    high.compute_cycles * product(case.low)
                );
            }
            Compute::BitSerial(array) if array.serial == SerialOperands::Activations => {
                let linear = case.layer.kind == LayerKind::Linear;
                let steps =
                    |at: LayerBits| if linear { 16 } else { u64::from(at.activation.get()) };
                prop_assert_eq!(
                    low.compute_cycles * steps(case.high),
                    high.compute_cycles * steps(case.low)
                );
            }
            _ => {}
        }
        Ok(())
    }

    /// A batch costs at most what its images cost one by one.
    fn check_batch(&self, batch: u64, one: &LayerCost, all: &LayerCost) -> TestCaseResult {
        prop_assert!(all.cycles <= batch * one.cycles + 2, "{one:?} {all:?}");
        if !self.for_cycles {
            prop_assert!(all.compute_cycles <= batch * one.compute_cycles, "{one:?} {all:?}");
            prop_assert!(all.dram_bytes <= batch * one.dram_bytes, "{one:?} {all:?}");
        }
        prop_assert_eq!(all.macs, batch * one.macs);
        prop_assert_eq!(all.size_bytes, one.size_bytes);
        Ok(())
    }
}

/// Holds a device against 10,000 random layers.
fn hold(profile: HardwareProfile) {
    let device = Device::new(profile);
    let config = ProptestConfig {
        cases: 10_000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let case =
        (any_layer(), any_bits(), any_bits(), 1u64..9).prop_map(|(layer, low, other, batch)| {
            let high =
                LayerBits::new(low.weight.max(other.weight), low.activation.max(other.activation));
            (layer, low, high, batch)
        });
    let outcome = runner
        .run(&case, |(layer, low, high, batch)| device.check(&Case { layer, low, high, batch }));
    if let Err(error) = outcome {
        panic!("{}: {error}", device.profile.name());
    }
}

macro_rules! laws_hold_on {
    ($($test:ident: $profile:literal),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                hold(profile($profile));
            }
        )*

        #[test]
        fn no_profile_is_left_out() {
            let mut held = [$($profile),*];
            held.sort_unstable();
            assert!(profiles().map(|profile| profile.name().to_owned()).eq(held));
        }
    };
}

laws_hold_on! {
    laws_hold_on_a100: "a100",
    laws_hold_on_bismo_cloud: "bismo-cloud",
    laws_hold_on_bismo_edge: "bismo-edge",
    laws_hold_on_bismo_pynq_z1: "bismo-pynq-z1",
    laws_hold_on_bitfusion: "bitfusion",
    laws_hold_on_bitfusion_cloud: "bitfusion-cloud",
    laws_hold_on_edge_tpu: "edge-tpu",
    laws_hold_on_eyeriss_like: "eyeriss-like",
    laws_hold_on_h100: "h100",
    laws_hold_on_loom_1b: "loom-1b",
    laws_hold_on_stripes: "stripes",
    laws_hold_on_t4: "t4",
    laws_hold_on_t4_tensorrt: "t4-tensorrt",
    laws_hold_on_tpu_v1: "tpu-v1",
}

/// The shipped profiles, each read once.
static SHIPPED: LazyLock<Vec<HardwareProfile>> = LazyLock::new(|| profiles().collect());

/// A shipped profile with parts of its text replaced, read once.
fn variant(name: &str, changes: &[(&str, &str)]) -> HardwareProfile {
    static READ: Mutex<BTreeMap<String, HardwareProfile>> = Mutex::new(BTreeMap::new());
    let mut read = READ.lock().unwrap();
    let key = format!("{name} {changes:?}");
    read.entry(key).or_insert_with(|| changed(name, changes)).clone()
}

fn changed(name: &str, changes: &[(&str, &str)]) -> HardwareProfile {
    let mut text = builtin_text(name).to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{name} has {from}");
        text = text.replace(from, to);
    }
    HardwareProfile::parse(&text, name).unwrap()
}

#[test]
fn laws_hold_on_a_fusion_array_that_tiles_for_traffic() {
    hold(variant(
        "bitfusion",
        &[
            ("pad_weights = true", "pad_weights = false"),
            ("tiling = \"fewest-cycles\"", "tiling = \"least-traffic\""),
            ("acc_roundtrip = true", "acc_roundtrip = false"),
        ],
    ));
}

#[test]
fn laws_hold_without_double_buffers_and_with_another_dataflow() {
    hold(variant(
        "eyeriss-like",
        &[
            ("double_buffered = true", "double_buffered = false"),
            ("dataflow = \"ws\"", "dataflow = \"auto\""),
        ],
    ));
}

// Several layers a case: more than 10,000 of them on each profile.
proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn a_network_costs_the_sum_of_its_layers(
        layers in prop::collection::vec((any_layer(), any_bits()), 1..5),
    ) {
        let (layers, bits): (Vec<Layer>, Vec<LayerBits>) = layers.into_iter().unzip();
        for profile in SHIPPED.iter() {
            let model = model(profile, &layers, 2);
            let network = model.network(&bits);
            let sum: f64 = network.layers.iter().map(|layer| layer.latency_s).sum();
            let total = sum + network.fixed_overhead_s + network.streaming_s;
            prop_assert!((network.cost.latency_s / total - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn the_order_of_layers_that_keep_their_own_width_changes_nothing(
        layers in prop::collection::vec(any_layer(), 2..5), at in any_bits(),
    ) {
        // The first layer may be special to a device, so it stays where it is.
        let mut turned = layers.clone();
        turned[1..].reverse();
        for profile in SHIPPED.iter() {
            let cost = |layers: &[Layer]| {
                model(profile, layers, 1).network(&vec![at; layers.len()]).cost
            };
            let (one, other) = (cost(&layers), cost(&turned));
            prop_assert!((one.latency_s / other.latency_s - 1.0).abs() < 1e-12);
            prop_assert!((one.energy_j / other.energy_j - 1.0).abs() < 1e-12);
            prop_assert_eq!(one.size_bytes, other.size_bytes);
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn a_larger_faster_device_is_never_slower(layer in any_layer(), at in any_bits()) {
        for (name, changes) in [
            ("tpu-v1", vec![("34e9", "68e9")]),
            ("tpu-v1", vec![("700e6", "900e6")]),
            ("eyeriss-like", vec![("36864", "73728"), ("110592", "221184")]),
            ("eyeriss-like", vec![("bw_bytes_per_cycle = 8", "bw_bytes_per_cycle = 16")]),
            ("stripes", vec![("33554432", "67108864")]),
            ("loom-1b", vec![("2097152", "4194304")]),
            ("loom-1b", vec![("256e9", "512e9")]),
            ("bismo-edge", vec![("operand_bits_per_cycle = 32", "operand_bits_per_cycle = 64")]),
            ("bismo-cloud", vec![("210e6", "300e6")]),
            ("a100", vec![("1.94e12", "2.04e12")]),
            ("bitfusion", vec![("bw_bytes_per_cycle = 24", "bw_bytes_per_cycle = 48")]),
        ] {
            let cost = |profile: &HardwareProfile| {
                model(profile, std::slice::from_ref(&layer), 2).layer(0, at)
            };
            let (base, larger) = (cost(&variant(name, &[])), cost(&variant(name, &changes)));
            // Whole cycles of a search for few of them may round the other way.
            let slack_s = 3.0 / 500e6 * f64::from(u8::from(name == "bitfusion"));
            let most_s = base.latency_s * (1.0 + 1e-12) + slack_s;
            prop_assert!(larger.latency_s <= most_s, "{name} {changes:?}");
            if name != "bitfusion" {
                prop_assert!(larger.dram_bytes <= base.dram_bytes, "{name} {changes:?}");
            }
        }
    }

    #[test]
    fn a_larger_array_never_takes_more_folds(layer in any_layer()) {
        // Without fill and drain, cycles are folds times the stream.
        for dataflow in ["ws", "is", "os"] {
            let cycles = |rows: &str, cols: &str| {
                let profile = variant("edge-tpu", &[
                    ("rows = 64", rows),
                    ("cols = 64", cols),
                    ("fill = \"per-fold\"", "fill = \"none\""),
                    ("dataflow = \"ws\"", &format!("dataflow = \"{dataflow}\"")),
                ]);
                model(&profile, std::slice::from_ref(&layer), 1).layer(0, bits(8, 8)).cycles
            };
            prop_assert!(cycles("rows = 128", "cols = 128") <= cycles("rows = 64", "cols = 64"));
        }
    }

    #[test]
    fn packed_depthwise_is_never_slower_than_channel_by_channel(layer in any_layer()) {
        let channels = layer.in_channels;
        let layer = Layer {
            kind: LayerKind::Depthwise,
            groups: channels,
            out_channels: channels * layer.groups,
            ..layer
        };
        let cycles = |mapping: &str| {
            let packed = "depthwise = \"packed\"";
            let profile = variant("edge-tpu", &[(packed, &format!("depthwise = \"{mapping}\""))]);
            let Compute::Systolic(array) = *profile.compute() else { unreachable!() };
            let expected = DepthwiseMapping::Packed;
            assert_eq!(array.depthwise == expected, mapping == "packed");
            model(&profile, std::slice::from_ref(&layer), 1).layer(0, bits(8, 8)).compute_cycles
        };
        let (packed, per_channel) = (cycles("packed"), cycles("per-channel"));
        prop_assert!(packed <= per_channel);
        if 64 < 2 * layer.reduction() {
            prop_assert_eq!(packed, per_channel);
        }
    }

    #[test]
    fn a_linear_layer_is_a_convolution_on_one_pixel(
        inputs in 1u64..600, outputs in 1u64..600, at in any_bits(), batch in 1u64..5,
    ) {
        let linear = common::linear("same", inputs, outputs);
        let conv = Layer { kind: LayerKind::Conv, ..linear.clone() };
        // Serial arrays read the weights of a linear layer once for all images, or run it at
        // widths of its own.
        for profile in SHIPPED.iter().filter(|profile| profile.family() != Family::BitSerial) {
            let cost = |layer: &Layer| {
                model(profile, std::slice::from_ref(layer), batch).layer(0, at)
            };
            prop_assert_eq!(cost(&linear), cost(&conv), "{}", profile.name());
        }
    }
}

// The table of a model holds every layer at 512 choices of widths: fewer cases do.
proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn a_table_says_what_the_layers_cost(
        layers in prop::collection::vec((any_layer(), any_bits()), 1..5),
    ) {
        let (layers, bits): (Vec<Layer>, Vec<LayerBits>) = layers.into_iter().unzip();
        for profile in SHIPPED.iter() {
            let model = model(profile, &layers, 2);
            let network = model.network(&bits);
            prop_assert_eq!(network.cost, model.total(&bits), "{}", profile.name());
            prop_assert_eq!(network.cost.latency_s, model.latency_s(&bits));
        }
    }
}

#[test]
fn an_empty_network_costs_the_fixed_overhead() {
    for profile in profiles() {
        let model = CostModel::new(&profile, &Workload::default(), 1).unwrap();
        let cost = model.total(&[]);
        assert_eq!(cost.latency_s, profile.fixed_overhead_s(), "{}", profile.name());
        let idle_j = profile.idle_power_w() * profile.fixed_overhead_s();
        assert!((cost.energy_j - idle_j).abs() < 1e-15, "{}", profile.name());
        assert_eq!((cost.size_bytes, cost.peak_memory_bytes), (0, 0));
    }
}

#[test]
fn the_same_model_gives_the_same_bits_on_any_thread() {
    let layers = common::mobilenet_v1(1.0, 224);
    let policy: Vec<LayerBits> =
        (0..layers.len()).map(|index| bits(1 + index as u8 % 8, 1 + index as u8 % 5)).collect();
    for profile in profiles() {
        let shared = model(&profile, &layers, 1);
        let expected = model(&profile, &layers, 1).total(&policy);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(shared.total(&policy), expected));
            }
        });
    }
}

#[test]
fn widths_beyond_eight_bits_are_costed_without_the_table() {
    for profile in profiles() {
        let model = model(&profile, &[common::conv("wide", 14, 3, 1, 1, (32, 32))], 1);
        let wide = LayerBits::new(Bits::MAX, Bits::MAX);
        assert_eq!(model.total(&[wide]), model.network(&[wide]).cost, "{}", profile.name());
        assert!(model.total(&[wide]).size_bytes >= model.total(&[bits(8, 8)]).size_bytes);
    }
}
