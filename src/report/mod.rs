//! What a person looks at: plots as SVG and PNG, tables for a terminal, a page of HTML.
//!
//! Everything about a run is drawn from a [`RunView`]. This is the only place that draws; it knows
//! nothing of where runs are kept or how they came about.
//!
//! ```text
//! RunView ─→ ParetoFigure, BitsFigure, LearningFigure, CostFigure ─→ .svg() .png() .write(path)
//!         ├→ layer_table, front_table, comparison_table, run_table, summary_sentence
//!         └→ page, write_page
//! RooflinePlot ─→ RooflineFigure
//! ComparisonPlot ─→ ComparisonFigure
//! HeatMap ─→ HeatFigure
//! ```

mod axis;
mod bits;
mod canvas;
mod comparison;
mod costs;
mod error;
mod frame;
mod heat;
mod html;
mod labels;
mod layer_axis;
mod learning;
mod pareto;
mod pareto_data;
mod roofline;
mod summary;
mod tables;
mod theme;
mod view;

pub use bits::BitsFigure;
pub use canvas::Figure;
pub use comparison::{ComparedMethod, ComparedPoint, ComparisonFigure, ComparisonPlot};
pub use costs::CostFigure;
pub use error::ReportError;
pub use heat::{HeatCell, HeatFigure, HeatMap};
pub use html::{page, write_page};
pub use learning::LearningFigure;
pub use pareto::ParetoFigure;
pub use roofline::{Roof, RooflineFigure, RooflineLayer, RooflinePlot};
pub use summary::{Compared, comparison, difference, summary_sentence};
pub use tables::{Look, RunRow, comparison_table, front_table, layer_table, run_table};
pub use view::{Reference, RunView, SplitUse};
