//! Laws that hold for any layer on every shipped profile.

mod common;

use common::{bits, profiles};
use haq_simulator::{CostModel, Family, Layer, LayerBits, LayerKind, Workload};
use proptest::prelude::*;

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

fn model(profile: &haq_simulator::HardwareProfile, layers: &[Layer], batch: u64) -> CostModel {
    CostModel::new(profile, &Workload::of_layers(layers.to_vec()), batch).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_layer_beats_the_roofline(layer in any_layer(), at in any_bits(), batch in 1u64..5) {
        for profile in profiles() {
            let cost = model(&profile, std::slice::from_ref(&layer), batch).layer(0, at);
            let clock = profile.clock_hz();
            prop_assert!(cost.cycles >= cost.compute_cycles, "{}", profile.name());
            prop_assert!(cost.cycles >= cost.memory_cycles, "{}", profile.name());
            prop_assert!(cost.latency_s * clock * (1.0 + 1e-9) >= (cost.cycles - 1) as f64);
            prop_assert!(cost.utilization > 0.0 && cost.utilization <= 1.0, "{}", profile.name());
            prop_assert!(cost.energy_j > 0.0);
        }
    }

    #[test]
    fn more_bits_never_cost_less(layer in any_layer(), low in any_bits(), high in any_bits()) {
        for profile in profiles().filter(|profile| profile.family() != Family::Fusion) {
            let join = |a: haq_simulator::Bits, b: haq_simulator::Bits| a.max(b);
            let high =
                LayerBits::new(join(low.weight, high.weight), join(low.activation, high.activation));
            let model = model(&profile, std::slice::from_ref(&layer), 2);
            let (less, more) = (model.total(&[low]), model.total(&[high]));
            let name = profile.name();
            prop_assert!(less.latency_s <= more.latency_s, "{name}: {low} {high}");
            prop_assert!(less.energy_j <= more.energy_j, "{name}: {low} {high}");
            prop_assert!(less.size_bytes <= more.size_bytes, "{name}: {low} {high}");
            prop_assert!(less.peak_memory_bytes <= more.peak_memory_bytes, "{name}: {low} {high}");
        }
    }

    #[test]
    fn a_network_costs_the_sum_of_its_layers(
        layers in prop::collection::vec((any_layer(), any_bits()), 1..5),
    ) {
        let (layers, bits): (Vec<Layer>, Vec<LayerBits>) = layers.into_iter().unzip();
        for profile in profiles() {
            let model = model(&profile, &layers, 2);
            let network = model.network(&bits);
            prop_assert_eq!(network.cost, model.total(&bits), "{}", profile.name());
            prop_assert_eq!(network.cost.latency_s, model.latency_s(&bits));
            let sum: f64 = network.layers.iter().map(|layer| layer.latency_s).sum();
            let total = sum + network.fixed_overhead_s + network.streaming_s;
            prop_assert!((network.cost.latency_s / total - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn a_batch_costs_at_most_as_many_single_images(
        layer in any_layer(), at in any_bits(), batch in 1u64..9,
    ) {
        for profile in profiles() {
            let one = model(&profile, std::slice::from_ref(&layer), 1).layer(0, at);
            let all = model(&profile, std::slice::from_ref(&layer), batch).layer(0, at);
            let name = profile.name();
            prop_assert!(all.compute_cycles <= batch * one.compute_cycles, "{name}");
            prop_assert!(all.cycles <= batch * one.cycles + 2, "{name}");
            prop_assert!(all.dram_bytes <= batch * one.dram_bytes, "{name}");
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
