//! The roof above one convolution on a built-in device, at three choices of widths.

use haq_simulator::{Bits, CostModel, HardwareProfile, LayerBits, LayerList, profile::builtin};

#[allow(clippy::print_stdout)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = builtin("bitfusion").expect("this profile comes with the crate");
    let profile = HardwareProfile::parse(text, "bitfusion.toml")?;
    let layers = "name,op,in_channels,out_channels,kernel_h,kernel_w,stride_h,stride_w,\
                  pad_top,pad_left,pad_bottom,pad_right,groups,in_h,in_w\n\
                  conv,conv,64,64,3,3,1,1,1,1,1,1,1,56,56";
    let workload = LayerList::parse(layers, "one layer")?.workload;
    let model = CostModel::new(&profile, &workload, 1)?;
    for width in [8, 4, 2].into_iter().filter_map(Bits::new) {
        let detail = model.explain(0, &[LayerBits::new(width, width)]);
        let giga = |rate: f64| rate / 1e9;
        println!(
            "{width} bits: {:.0} of {:.0} GMAC/s, bound by {}",
            giga(detail.roofline.macs_per_s),
            giga(detail.roofline.attainable_macs_per_s),
            detail.cost.bound
        );
    }
    Ok(())
}
