//! Networks given as layers, tensors and tables: what is counted, what is refused.

mod common;

use common::{bits, conv, depthwise, linear, profile, profiles};
use haq_simulator::{CostModel, Layer, LayerKind, LayerList, LayerOutput, LiveTensor, Workload};

#[test]
fn layers_count_positions_products_and_weights() {
    let wide = Layer {
        in_w: 20,
        kernel_w: 5,
        stride_w: 2,
        pad_left: 2,
        pad_right: 1,
        ..conv("wide", 10, 3, 1, 1, (4, 6))
    };
    let dilated = Layer { dilation_h: 2, dilation_w: 2, ..conv("dilated", 9, 3, 1, 0, (2, 2)) };
    let grouped = Layer { groups: 2, ..conv("grouped", 8, 3, 2, 1, (8, 4)) };
    for (layer, out_h, out_w, weights, macs) in [
        (conv("plain", 32, 3, 1, 1, (3, 16)), 32, 32, 432, 442_368),
        (conv("strided", 224, 7, 2, 3, (3, 64)), 112, 112, 9_408, 118_013_952),
        (depthwise("dw", 14, 3, 2, 10), 7, 7, 90, 4_410),
        (linear("fc", 64, 10), 1, 1, 640, 640),
        (wide, 10, 10, 360, 36_000),
        (dilated, 5, 5, 36, 900),
        (grouped, 4, 4, 144, 2_304),
    ] {
        assert_eq!(layer.check(), Ok(()), "{}", layer.name);
        assert_eq!((layer.out_h(), layer.out_w()), (out_h, out_w), "{}", layer.name);
        assert_eq!((layer.weights(), layer.macs()), (weights, macs), "{}", layer.name);
    }
}

#[test]
fn layers_that_cannot_be_are_refused_by_name() {
    let good = conv("stem", 8, 3, 1, 1, (4, 8));
    for (layer, expected) in [
        (Layer { in_channels: 0, ..good.clone() }, "in_channels is 0"),
        (Layer { stride_w: 0, ..good.clone() }, "stride_w is 0"),
        (Layer { groups: 3, ..good.clone() }, "groups is 3; it needs to divide 4 input and 8"),
        (Layer { kind: LayerKind::Depthwise, groups: 2, ..good.clone() }, "groups is 2; a depthw"),
        (Layer { kind: LayerKind::Linear, ..good.clone() }, "a linear layer has a kernel of 1"),
        (Layer { kernel_h: 11, ..good.clone() }, "the kernel covers 11 elements along h, the"),
        (Layer { dilation_w: 5, ..good.clone() }, "the kernel covers 11 elements along w, the"),
    ] {
        let workload = Workload::of_layers(vec![conv("first", 8, 1, 1, 0, (4, 4)), layer]);
        let error = CostModel::new(&profile("edge-tpu"), &workload, 1).unwrap_err().to_string();
        let expected = format!("layer 1 (stem): {expected}");
        assert!(error.starts_with(&expected), "{error}\n{expected}");
    }
}

#[test]
fn absurd_sizes_are_an_error_and_never_an_overflow() {
    let large = |size: u64| conv("vast", size, 3, 1, 1, (3, 8));
    let huge_stride = Layer { stride_h: u64::MAX, ..large(8) };
    let huge_pad = Layer { pad_top: u64::MAX, pad_bottom: u64::MAX, ..large(8) };
    let huge_dilation = Layer { dilation_h: u64::MAX, ..large(8) };
    for (layer, batch) in [
        (large(1 << 32), 1),
        (large(u64::MAX), 1),
        (large(1 << 16), 1 << 20),
        (conv("vast", 8, 1, 1, 0, (u64::MAX, u64::MAX)), 1),
        (conv("vast", 8, 1, 1, 0, (1 << 30, 1 << 30)), 1),
        (linear("vast", u64::MAX, 2), 1),
        (huge_stride, 1),
        (huge_pad, 1),
        (huge_dilation, 1),
        (large(8), 0),
        (large(8), u64::MAX),
    ] {
        for profile in profiles() {
            let workload = Workload::of_layers(vec![layer.clone()]);
            let error = CostModel::new(&profile, &workload, batch).unwrap_err().to_string();
            let said = error.contains("vast") || error.starts_with("batch is");
            assert!(said, "{}: {error}", profile.name());
        }
    }
}

#[test]
fn the_largest_sizes_that_are_allowed_are_costed() {
    // 2^20 positions of 2^14 products for 2^14 channels: 2^48 multiply-accumulates.
    let large = [
        conv("large", 1 << 10, 1, 1, 0, (1 << 14, 1 << 14)),
        conv("tall", 1 << 16, 1, 1, 0, (4, 4)),
        linear("long", 1 << 20, 1 << 18),
        depthwise("many", 4, 3, 1, 1 << 20),
        conv("kernel", 2000, 999, 500, 0, (1, 1)),
    ];
    for profile in profiles() {
        for layer in &large {
            let workload = Workload::of_layers(vec![layer.clone()]);
            let model = CostModel::new(&profile, &workload, 1).unwrap();
            for at in [bits(1, 1), bits(8, 8), bits(16, 16)] {
                let cost = model.layer(0, at);
                let name = format!("{} on {}", layer.name, profile.name());
                assert!(cost.latency_s.is_finite() && cost.energy_j > 0.0, "{name}: {cost:?}");
                assert!(cost.cycles < 1 << 62 && cost.dram_bytes < 1 << 62, "{name}: {cost:?}");
            }
        }
    }
}

#[test]
fn size_is_what_weights_scales_and_biases_take() {
    let mut layer = conv("conv", 8, 3, 1, 1, (3, 5));
    layer.bias = true;
    let workload = Workload::of_layers(vec![layer]);
    // 135 weights; 5 scales and 5 biases of 32 bits.
    for (name, width, expected) in [
        ("edge-tpu", 8, 135 + 40),
        ("edge-tpu", 3, 51 + 40),
        ("edge-tpu", 1, 34 + 40),
        ("bitfusion", 3, 68 + 40),
        ("bitfusion", 1, 17 + 40),
        ("h100", 5, 135 + 40),
        // Each bit plane of a filter is padded to a word of 128 bits.
        ("bismo-edge", 3, 5 * 3 * 16 + 40),
    ] {
        let model = CostModel::new(&profile(name), &workload, 1).unwrap();
        assert_eq!(model.total(&[bits(width, 8)]).size_bytes, expected, "{name} at {width}");
    }
}

/// Two layers and a skip around the second: input, between, skip and output.
fn with_skip() -> Workload {
    let tensor = |name: &str, elements, bits_of_layer, first_step, last_step| LiveTensor {
        name: name.to_owned(),
        elements,
        bits_of_layer,
        first_step,
        last_step,
    };
    Workload {
        layers: vec![conv("one", 4, 1, 1, 0, (2, 8)), conv("two", 4, 1, 1, 0, (8, 8))],
        outputs: vec![
            LayerOutput { read_by: Some(1), skip_elements: 0 },
            LayerOutput { read_by: None, skip_elements: 128 },
        ],
        tensors: vec![
            tensor("input", 32, Some(0), 0, 1),
            tensor("between", 128, Some(1), 1, 3),
            tensor("result", 128, None, 2, 3),
            tensor("sum", 128, None, 3, 4),
        ],
        steps: ["input", "one", "two", "add", "output"].map(str::to_owned).to_vec(),
    }
}

#[test]
fn peak_memory_counts_every_tensor_that_is_alive() {
    let workload = with_skip();
    let model = CostModel::new(&profile("bismo-cloud"), &workload, 2).unwrap();
    // At the sum, the tensor between is alive at its own width, the others at 8 bits.
    let network = model.network(&[bits(8, 8), bits(8, 4)]);
    assert_eq!(network.activation_peak_bytes, 2 * (64 + 128 + 128));
    assert_eq!(network.peak_step, "add");
    assert_eq!(
        network.cost.peak_memory_bytes,
        network.weight_bytes + network.activation_peak_bytes
    );
    let wider = model.network(&[bits(8, 8), bits(8, 8)]);
    assert_eq!(wider.activation_peak_bytes, 2 * 3 * 128);
}

#[test]
fn a_bare_list_keeps_input_and_result_of_each_layer() {
    let layers = vec![conv("one", 4, 1, 1, 0, (2, 8)), conv("two", 4, 1, 1, 0, (8, 2))];
    let model = CostModel::new(&profile("bismo-cloud"), &Workload::of_layers(layers), 1).unwrap();
    let network = model.network(&[bits(8, 8), bits(8, 4)]);
    // 32 bytes in, 128 elements out at the 4 bits the next layer reads.
    assert_eq!((network.activation_peak_bytes, network.peak_step.as_str()), (32 + 64, "one"));
}

#[test]
fn a_result_is_written_at_the_width_of_its_reader() {
    let layers = vec![conv("one", 8, 3, 1, 1, (4, 64)), conv("two", 8, 1, 1, 0, (64, 4))];
    let model = CostModel::new(&profile("a100"), &Workload::of_layers(layers), 1).unwrap();
    let written = |reader| {
        let detail = model.explain(0, &[bits(8, 8), bits(8, reader)]);
        detail.traffic.last().unwrap().1.outputs_written
    };
    assert_eq!(written(4) * 2.0, written(8));
}

#[test]
fn a_skip_connection_is_read_once_more() {
    let mut workload = with_skip();
    let bytes = |workload: &Workload| {
        let model = CostModel::new(&profile("a100"), workload, 1).unwrap();
        model.network(&[bits(8, 8); 2]).layers[1].dram_bytes
    };
    let with = bytes(&workload);
    workload.outputs[1].skip_elements = 0;
    assert_eq!(with, bytes(&workload) + 128);
}

#[test]
fn workloads_that_contradict_themselves_are_refused() {
    let edge = profile("edge-tpu");
    let error = |change: fn(&mut Workload)| {
        let mut workload = with_skip();
        change(&mut workload);
        CostModel::new(&edge, &workload, 1).unwrap_err().to_string()
    };
    for (message, expected) in [
        (error(|w| w.outputs[0].read_by = Some(2)), "layer 0 (one): feeds layer 2; there are 2"),
        (error(|w| w.outputs.truncate(1)), "1 layer outputs for 2 layers"),
        (error(|w| w.tensors[1].bits_of_layer = Some(7)), "tensor between: takes its bits from"),
        (error(|w| w.tensors[1].last_step = 5), "tensor between: lives from step 1 to 5"),
        (error(|w| w.tensors[1].first_step = 4), "tensor between: lives from step 4 to 3"),
        (error(|w| w.tensors[1].elements = u64::MAX), "tensor between: 1844674407370955"),
    ] {
        assert!(message.starts_with(expected), "{message}");
    }
}

const HEADER: &str = "name,op,in_channels,out_channels,kernel_h,kernel_w,stride_h,stride_w,\
                      pad_top,pad_left,pad_bottom,pad_right,groups,in_h,in_w";

#[test]
fn tables_of_layers_are_read() {
    let text = format!(
        "{HEADER},weight_bits,activation_bits\n\
         stem,conv,3,16,3,3,1,1,1,1,1,1,1,32,32,8,8\n\
         \n\
         \"dw, first\",depthwise,16,16,3,3,2,2,1,1,1,1,16,32,32,4,6\n\
         fc, Linear ,64,10,1,1,1,1,0,0,0,0,1,1,1,,\n"
    );
    let list = LayerList::parse(&text, "net.csv").unwrap();
    let kinds: Vec<LayerKind> = list.workload.layers.iter().map(|layer| layer.kind).collect();
    assert_eq!(kinds, [LayerKind::Conv, LayerKind::Depthwise, LayerKind::Linear]);
    assert_eq!(list.workload.layers[1].name, "dw, first");
    assert_eq!(list.workload.layers[1].out_h(), 16);
    assert_eq!(list.bits, [Some(bits(8, 8)), Some(bits(4, 6)), None]);
}

#[test]
fn scale_sim_topologies_are_read() {
    let text = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, \
                Num Filter, Strides,\nConv1,230,230,7,7,3,64,2,\nFC,1,1,1,1,512,1000,1,\n";
    let list = LayerList::parse(text, "resnet.csv").unwrap();
    assert_eq!(list.workload.layers[0].out_h(), 112);
    assert_eq!(list.workload.macs(), 118_013_952 + 512_000);
    let gemm = "Layer, M, N, K,\nG0, 16, 100, 64,\n";
    let list = LayerList::parse(gemm, "gemm.csv").unwrap();
    assert_eq!(list.workload.macs(), 16 * 100 * 64);
}

#[test]
fn broken_tables_are_refused_by_line() {
    let row = "stem,conv,3,16,3,3,1,1,1,1,1,1,1,32,32";
    for (text, expected) in [
        (String::new(), "net.csv: no header line"),
        (HEADER.to_owned(), "net.csv: no layer after the header line"),
        (format!("{}\n{row}", HEADER.replace(",groups", "")), "net.csv:1: no column groups"),
        (format!("{HEADER},colour\n{row},red"), "net.csv:1: unknown column \"colour\""),
        (format!("{HEADER}\n{row},7"), "net.csv:2: 16 cells; the header has 15 columns"),
        (format!("{HEADER}\n{}", row.replace("conv", "pool")), "net.csv:2: op is \"pool\""),
        (format!("{HEADER}\n{}", row.replace(",16,", ",-16,")), "net.csv:2: out_channels is"),
        (format!("{HEADER}\n\n{}", row.replace(",3,16", ",0,16")), "net.csv:3: stem: in_channels"),
        (
            format!("{HEADER},weight_bits,activation_bits\n{row},40,8"),
            "net.csv:2: weight_bits is \"40\"",
        ),
        (
            format!("{HEADER},weight_bits,activation_bits\n{row},4,"),
            "net.csv:2: weight_bits and activation_bits need to be given together",
        ),
        (
            "Layer, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, \
             Strides\nConv1,230,230,7"
                .to_owned(),
            "net.csv:2: filter width is missing",
        ),
    ] {
        let error = LayerList::parse(&text, "net.csv").unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}\n{expected}");
    }
}

#[test]
fn codebooks_count_codes_entries_and_biases_and_leave_time_alone() {
    let biased = Layer { bias: true, ..linear("fc", 64, 10) };
    let workload = Workload::of_layers(vec![conv("stem", 8, 3, 1, 1, (1, 8)), biased]);
    let plain = CostModel::new(&profile("bismo-edge"), &workload, 1).unwrap();
    let shared = plain.clone().with_codebooks();
    // 72 and 640 weights; never more entries than weights.
    for (weight, expected) in
        [(1, 9 + 8 + 80 + 8 + 40), (3, 27 + 32 + 240 + 32 + 40), (8, 72 + 288 + 640 + 1024 + 40)]
    {
        let policy = [bits(weight, 8); 2];
        let (cost, before) = (shared.total(&policy), plain.total(&policy));
        assert_eq!(cost.size_bytes, expected, "{weight} bits");
        assert_eq!((cost.latency_s, cost.energy_j), (before.latency_s, before.energy_j));
        assert_eq!(cost, shared.network(&policy).cost, "{weight} bits, layer by layer");
        let activations = before.peak_memory_bytes - before.size_bytes;
        assert_eq!(cost.peak_memory_bytes, expected + activations);
    }
}
