//! `haq verify`.

use serde_json::json;

use crate::{
    cli::{
        args::{Global, VerifyArgs},
        exit::Ending,
        output,
        session::{evaluation_settings, preprocessing_request},
    },
    data::{Split, SplitLimits},
    runner::{Difference, ModelSource, Verified, load_model, open_dataset, verify},
};

/// What outputs may differ by without the runtime's optimisations, typically, in units of their
/// range. Sums of floats end in another last digit there, some numbers between two levels fall to
/// the other one, and in a deep network that spreads; a file that is wrong is far above.
const MOST_TYPICAL_DIFFERENCE: f64 = 0.03;

pub fn run(global: &Global, args: &VerifyArgs) -> anyhow::Result<Ending> {
    let settings = evaluation_settings(&args.machine)?;
    let data = args.feed.data.as_deref();
    let source = ModelSource { model: Some(&args.file), data, ..ModelSource::default() };
    let model = load_model(source)?;
    let limits = SplitLimits { test: args.runtime.images, ..SplitLimits::default() };
    let preprocessing = preprocessing_request(&args.feed);
    let dataset = open_dataset(&model, data, &preprocessing, args.seed, limits)?;
    let images = dataset.load(Split::Test)?;
    let graph = model.stored.map_or(model.graph, |stored| stored.graph);
    let verified = verify(&args.file, &graph, &images, settings, &args.runtime.python)?;
    if global.json {
        let mut object = json!(verified);
        object["schema"] = output::SCHEMA.into();
        output::print_json(&object)?;
    } else {
        output::print(&text(&verified))?;
    }
    check(&verified)?;
    Ok(Ending::Done)
}

/// # Errors
/// When the runtime's outputs are others.
pub fn check(verified: &Verified) -> anyhow::Result<()> {
    if verified.plain.typical_difference <= MOST_TYPICAL_DIFFERENCE {
        return Ok(());
    }
    anyhow::bail!(
        "ONNX Runtime's outputs differ by {:.1e} of their range from those here; up to {MOST_TYPICAL_DIFFERENCE} can come of rounding",
        verified.plain.typical_difference,
    )
}

/// One line for each way of running it.
pub fn text(verified: &Verified) -> String {
    let header = ["ONNX Runtime", "same class", "", "typical", "largest difference", "images/s"];
    let mut table = output::plain_table(&header, &[1, 2, 3, 4, 5]);
    let n = verified.images;
    let mut row = |name: &str, difference: &Difference| {
        table.add_row([
            name.to_owned(),
            format!("{} of {n}", difference.same_class),
            format!("{:.2} %", difference.agreement * 100.0),
            format!("{:.1e}", difference.typical_difference),
            format!("{:.1e} of the range", difference.largest_difference),
            format!("{:.0}", n as f64 / difference.wall_s),
        ]);
    };
    row("not optimised", &verified.plain);
    if let Some(optimised) = &verified.optimised {
        row("optimised", optimised);
    }
    let refused = verified
        .refused
        .as_ref()
        .map_or_else(String::new, |error| format!("\nits optimiser refuses the file: {error}"));
    let widest = verified.plain.widest_tie;
    let ties = match verified.plain.same_class == n {
        true => String::new(),
        false => format!(
            "\nimages of another class lie between the two: {widest:.1e} of the range apart at most"
        ),
    };
    let here = n as f64 / verified.wall_s;
    format!(
        "{table}{ties}{refused}\nversion {} beside this program ({here:.0} images/s), on {n} test images",
        verified.version
    )
}
