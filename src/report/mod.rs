//! What a person looks at: plots as SVG and PNG, tables for a terminal, a page of HTML.
//!
//! Everything is drawn from a [`RunView`]. This is the only place that draws; it knows
//! nothing of where runs are kept or how they came about.
//!
//! ```text
//! RunView ─→ ParetoFigure, BitsFigure, LearningFigure, CostFigure ─→ .svg() .png() .write(path)
//!         ├→ tables: layer_table, front_table, run_table, summary_sentence
//!         └→ html: page
//! ```

mod axis;
mod bits;
mod canvas;
mod costs;
mod error;
mod frame;
mod labels;
mod layer_axis;
mod learning;
mod pareto;
mod theme;
mod view;

pub use bits::BitsFigure;
pub use canvas::Figure;
pub use costs::CostFigure;
pub use error::ReportError;
pub use learning::LearningFigure;
pub use pareto::ParetoFigure;
pub use view::{Reference, RunView, SplitUse};
