//! What a policy that was searched for one device costs on the others.
//!
//! Source: HAQ, section 4.3 and its table of policies across edge and cloud devices.

use serde::{Deserialize, Serialize};

use crate::{
    domain::{Cost, CostKind, Measure, RunId, show_cost},
    report::{
        RunView,
        tables::{Look, add, finish, number, number_column, start, text_column, words},
    },
};

/// One run's best policy on every device.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AcrossDevices {
    pub run: RunId,
    /// The device it was searched for.
    pub searched_for: String,
    pub strategy: String,
    pub measure: Measure,
    /// Of the policy, whatever the device.
    pub quality_search: Option<f64>,
    pub quality_test: Option<f64>,
    /// In the order in which devices come first among the runs.
    pub on: Vec<OnDevice>,
}

/// A policy's modelled cost on one device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OnDevice {
    pub profile: String,
    pub objective: CostKind,
    pub cost: Cost,
    /// The objective's cost as a share of what 8/8 costs there; `None` where that is nothing.
    pub cost_ratio: Option<f64>,
    /// Whether it meets the budgets of the runs on that device; `None` where they have none.
    pub meets_budgets: Option<bool>,
}

/// One row for each policy, one column for each device; empty text without rows.
pub fn across_devices_table(rows: &[AcrossDevices], look: Look) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let on: Vec<String> =
        first.on.iter().map(|on| format!("{} on {}", on.objective, on.profile)).collect();
    let mut columns = vec![text_column("searched for"), text_column("by"), number_column("run")];
    columns.push(number_column(first.measure.word()));
    columns.push(number_column("test"));
    for title in &on {
        columns.extend([number_column(title), number_column("of 8/8"), text_column("")]);
    }
    let mut table = start(look, &columns);
    for row in rows {
        let show = |quality: Option<f64>| quality.map_or("–".into(), |q| row.measure.show(q));
        let mut cells = vec![
            words(&row.searched_for),
            words(&row.strategy),
            number(row.run),
            number(show(row.quality_search)),
            number(show(row.quality_test)),
        ];
        for on in &row.on {
            let [cost, ratio] = on.figures().map(number);
            cells.extend([cost, ratio, words(on.verdict())]);
        }
        add(&mut table, cells);
    }
    finish(table)
        + "\neach policy on each device, costs modelled; its quality is the same everywhere"
}

/// The chosen policy on each of the devices it was searched for; none where that is one device.
pub fn own_devices_table(run: &RunView, look: Look) -> Option<String> {
    if run.on_devices.len() < 2 {
        return None;
    }
    let objective = run.description.objective;
    let mut table = start(
        look,
        &[
            text_column("device"),
            number_column(objective.word()),
            number_column("of 8/8"),
            text_column(""),
        ],
    );
    for on in &run.on_devices {
        let [cost, ratio] = on.figures().map(number);
        add(&mut table, vec![words(&on.profile), cost, ratio, words(on.verdict())]);
    }
    Some(
        finish(table)
            + "\none policy for all of them: costs above are those of the device that is worst off, in \
               units of the first",
    )
}

impl OnDevice {
    /// The objective's cost, and that as a share of what 8/8 costs.
    pub(super) fn figures(&self) -> [String; 2] {
        [
            show_cost(self.objective, self.cost.get(self.objective)),
            self.cost_ratio.map_or("–".into(), |ratio| format!("{ratio:.3}")),
        ]
    }

    pub(super) fn verdict(&self) -> &'static str {
        match self.meets_budgets {
            None => "",
            Some(true) => "fits",
            Some(false) => "over budget",
        }
    }
}
