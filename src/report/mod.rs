//! What a person looks at: plots as SVG and PNG, tables for a terminal, a page of HTML.
//!
//! Everything about a run is drawn from a [`RunView`]. This is the only place that draws; it knows
//! nothing of where runs are kept or how they came about.
//!
//! ```text
//! RunView ─→ ParetoFigure, BitsFigure, LearningFigure, CostFigure ─→ .svg() .png() .write(path)
//!         ├→ layer_table, explanation_table, front_table, comparison_table, run_table, summary_sentence
//!         └→ page, write_page
//! RunViews ─→ ConvergenceFigure, standings_table, difference_table
//! RooflinePlot ─→ RooflineFigure
//! ComparisonPlot ─→ ComparisonFigure
//! HeatMap ─→ HeatFigure
//! ```

mod across_devices;
mod axis;
mod bits;
mod canvas;
mod comparison;
mod contest;
mod convergence;
mod costs;
mod error;
mod explanation;
mod frame;
mod groups;
mod heat;
mod html;
mod labels;
mod layer_axis;
mod learning;
mod pareto;
mod pareto_data;
mod progress;
mod roofline;
mod run_differences;
mod summary;
mod tables;
mod theme;
mod view;

pub use across_devices::{AcrossDevices, OnDevice, across_devices_table, own_devices_table};
pub use bits::BitsFigure;
pub use canvas::Figure;
pub use comparison::{ComparedMethod, ComparedPoint, ComparisonFigure, ComparisonPlot};
pub use contest::{Figures, Standing, standings, standings_table};
pub use convergence::ConvergenceFigure;
pub use costs::{CostFigure, cost_shares};
pub use error::ReportError;
pub use explanation::{explanation_table, reasons};
pub use groups::{RunGroup, groups};
pub use heat::{HeatCell, HeatFigure, HeatMap};
pub use html::{page, write_page};
pub use learning::LearningFigure;
pub use pareto::ParetoFigure;
pub use progress::{
    JudgingSeconds, Stand, judging_seconds, mean_and_deviation, reference_words, stands,
};
pub use roofline::{Roof, RooflineFigure, RooflineLayer, RooflinePlot};
pub use run_differences::{
    LayerDifference, RunDifference, difference_table, layer_difference_table, layer_differences,
    run_differences,
};
pub use summary::{Compared, comparison, difference, summary_sentence};
pub use tables::{Look, RunRow, comparison_table, front_table, layer_table, run_table};
pub use view::{Reference, RunView, SplitUse};
