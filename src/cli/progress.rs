//! Progress bars; that of a search shows episode, best quality, cost against the budget, speed.

use std::{io::IsTerminal as _, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::{
    cli::{args::Global, output},
    domain::{Budget, CostKind, EpisodeRecord, Measure, show_cost},
    runner::Runner,
};

/// A bar on a terminal; silent elsewhere and with `--quiet`.
///
/// - `rest`: what stands behind the count, as a template
pub fn bar(global: &Global, length: Option<u64>, rest: &str) -> ProgressBar {
    let visible = !global.quiet && std::io::stderr().is_terminal();
    let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(length, target);
    let colour = if output::colours_allowed(&std::io::stderr()) { ".cyan" } else { "" };
    let template = format!("{{bar:24{colour}}} {{pos}}/{{len}} {rest}");
    let style = ProgressStyle::with_template(&template)
        .expect("the template is well formed")
        .with_key("rate", |state: &ProgressState, text: &mut dyn std::fmt::Write| {
            // A bar that cannot be written is no reason to stop.
            let _ = write!(text, "{:.1} policies/s", state.per_sec());
        });
    bar.set_style(style.progress_chars("━╸─"));
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

/// Shows how a search goes on, on a terminal; silent elsewhere and with `--quiet`.
pub struct Progress {
    bar: ProgressBar,
    measure: Measure,
    objective: CostKind,
    budget: Option<Budget>,
    best: Option<String>,
}

impl Progress {
    /// From where the run stands, references included.
    pub fn of(global: &Global, runner: &Runner<'_>) -> Self {
        let plan = runner.plan();
        let episodes = plan.references().len() as u64 + u64::from(plan.request.episodes);
        let (measure, budget) = (plan.request.measure, plan.budgets.first().copied());
        Self::new(global, episodes, runner.n_done() as u64, (measure, plan.objective), budget)
    }

    /// - `episodes`: in all; `done` of them lie behind
    /// - `axes`: what is searched for and the cost it is shown with
    pub fn new(
        global: &Global,
        episodes: u64,
        done: u64,
        (measure, objective): (Measure, CostKind),
        budget: Option<Budget>,
    ) -> Self {
        let bar = bar(global, Some(episodes), "· {msg} · {rate} · {eta} left");
        bar.set_message("first policies");
        bar.set_position(done);
        bar.reset_eta();
        Self { bar, measure, objective, budget, best: None }
    }

    pub fn episode(&mut self, record: &EpisodeRecord, is_new_best: bool) {
        let quality = self.measure.of(&record.quality).unwrap_or(f64::NAN);
        let best = is_new_best.then(|| (quality, record.cost.get(self.objective)));
        self.advance(u64::from(record.index) + 1, best);
    }

    /// So many episodes are done; the best policy's quality and cost, where it is a new one.
    pub fn advance(&mut self, done: u64, best: Option<(f64, f64)>) {
        if let Some((quality, cost)) = best {
            let against = match self.budget {
                Some(budget) => format!(" of {}", show_cost(budget.kind, budget.limit)),
                None => String::new(),
            };
            self.best = Some(format!(
                "best {} at {}{against}",
                self.measure.show(quality),
                show_cost(self.objective, cost)
            ));
        }
        self.bar
            .set_message(self.best.clone().unwrap_or_else(|| "none meets the budget yet".into()));
        self.bar.set_position(done);
    }

    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}
