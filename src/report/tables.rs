//! Tables for a terminal: layers of a policy, a front, a comparison, a list of runs.

use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, LineStyle, Row,
    Table, TableStyle,
};

use crate::{
    domain::{Bound, CostKind, Measure, RunId, RunState, Strategy, show_cost},
    report::{
        RunView,
        canvas::printable,
        costs::{layer_cost, shares},
        layer_axis::layer_names,
        summary::{comparison, difference},
    },
};

/// How a table is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Look {
    /// Whether escape codes for colour and weight are written; not with `NO_COLOR` or
    /// where the output is no terminal.
    pub colour: bool,
    /// Columns of the terminal; without it, every line is as long as it needs to be.
    pub width: Option<u16>,
}

/// One run in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    pub id: RunId,
    pub state: RunState,
    pub model: String,
    pub profile: String,
    pub strategy: Strategy,
    pub seed: u64,
    pub episodes: u32,
    pub episodes_planned: u32,
    /// As typed; empty without a budget.
    pub budget: String,
    pub measure: Measure,
    /// Of the best policy: on the test split if measured, else on the search split.
    pub quality: Option<f64>,
    pub float_quality: Option<f64>,
    pub objective: CostKind,
    /// Of the best policy, in seconds, joules or bytes, and as a share of 8/8.
    pub cost: Option<f64>,
    pub cost_ratio: Option<f64>,
}

impl RunRow {
    pub fn of(run: &RunView) -> Self {
        let (description, result) = (&run.description, &run.result);
        let best = run.best();
        let tested = best.and_then(|best| run.tested_quality(&best.policy));
        let float_test = result.float_test.as_ref().and_then(|float| run.quality_of(float));
        let budgets: Vec<String> =
            description.budget_requests.iter().map(ToString::to_string).collect();
        Self {
            id: run.id,
            state: result.state,
            model: description.model.clone(),
            profile: description.profile.clone(),
            strategy: description.strategy,
            seed: description.seed,
            episodes: result.episodes,
            episodes_planned: description.episodes_planned,
            budget: budgets.join(" "),
            measure: description.measure,
            quality: tested.or_else(|| best.and_then(|best| run.quality(best))),
            float_quality: if tested.is_some() { float_test } else { run.float_quality() },
            objective: description.objective,
            cost: best.map(|best| best.cost.get(description.objective)),
            cost_ratio: best
                .and_then(|best| run.ratio_to_eight_bit(&best.cost, description.objective)),
        }
    }
}

/// The chosen policy layer by layer: bits, work, shares of the cost, what bounds it.
///
/// A narrow terminal is not told the work. Empty text while the run has no policy within its budgets.
pub fn layer_table(run: &RunView, look: Look) -> String {
    let Some(best) = run.best() else { return String::new() };
    let costs = &run.best_layers;
    let share_of = |kind: CostKind| -> Vec<f64> {
        shares(&costs.iter().map(|layer| layer_cost(layer, kind)).collect::<Vec<_>>())
    };
    let kinds = [CostKind::Latency, CostKind::Energy, CostKind::Size];
    let all_shares = kinds.map(share_of);
    let names = layer_names(run, best.policy.len());
    let wide = look.width.is_none_or(|width| width >= 95);
    let mut columns =
        vec![number_column("#"), Column { title: "layer", fit: Fit::Cut }, text_column("kind")];
    columns.extend(["W", "A"].map(number_column));
    if wide {
        columns.extend(["MACs", "weights"].map(number_column));
    }
    columns.extend(["latency", "energy", "size"].map(number_column));
    columns.push(text_column("bound"));
    let mut table = start(look, &columns);
    for (index, bits) in best.policy.layers().iter().enumerate() {
        let layer = run.description.layers.get(index);
        let pinned = layer.is_some_and(|layer| layer.pinned);
        let mut row = vec![
            number(index.to_string()),
            Cell::new(&names[index]),
            words(layer.map_or("", |layer| layer.kind.as_str())),
            bits_cell(bits.weight.get(), pinned, look),
            bits_cell(bits.activation.get(), pinned, look),
        ];
        if wide {
            row.push(number(layer.map_or(String::new(), |layer| count(layer.macs))));
            row.push(number(layer.map_or(String::new(), |layer| count(layer.weights))));
        }
        for shares in &all_shares {
            row.push(number(shares.get(index).map_or(String::new(), |share| percent(*share))));
        }
        row.push(bound_cell(costs.get(index).map(|layer| layer.bound), look));
        add(&mut table, row);
    }
    let mut text = finish(table);
    if run.description.layers.iter().any(|layer| layer.pinned) {
        text += "\n* pinned: the search may not change these bits";
    }
    text
}

/// The front against one cost, cheapest first; the chosen policy is marked.
pub fn front_table(run: &RunView, kind: CostKind, look: Look) -> String {
    let measure = run.description.measure;
    let others: Vec<CostKind> = CostKind::ALL.into_iter().filter(|other| *other != kind).collect();
    let mut titles = vec!["episode", measure.word(), "to float", kind.word(), "of 8/8"];
    titles.extend(others.iter().map(|other| other.word()));
    titles.extend(["W bits", "A bits"]);
    let mut columns: Vec<Column> = titles.into_iter().map(number_column).collect();
    columns.push(text_column(""));
    let mut table = start(look, &columns);
    for episode in run.front(kind) {
        let Some(quality) = run.quality(episode) else { continue };
        let chosen = run.result.best_episode == Some(episode.index);
        let ratio = run.ratio_to_eight_bit(&episode.cost, kind);
        let mut row = vec![
            number(episode.index.to_string()),
            number(measure.show(quality)),
            number(signed(measure, quality, run.float_quality())),
            number(show_cost(kind, episode.cost.get(kind))),
            number(ratio.map_or(String::new(), |ratio| format!("{ratio:.3}"))),
        ];
        row.extend(others.iter().map(|&other| number(show_cost(other, episode.cost.get(other)))));
        let (weights, activations) = run.mean_bits(&episode.policy);
        row.extend([number(format!("{weights:.2}")), number(format!("{activations:.2}"))]);
        row.push(Cell::new(if chosen { "chosen" } else { "" }));
        if chosen && look.colour {
            row = row.into_iter().map(|cell| cell.add_attribute(Attribute::Bold)).collect();
        }
        add(&mut table, row);
    }
    finish(table)
}

/// Float, 8/8, the uniform policy of the same cost and the chosen one.
pub fn comparison_table(run: &RunView, look: Look) -> String {
    let measure = run.description.measure;
    let search = format!("{measure} (search)");
    let test = format!("{measure} (test)");
    let mut titles = vec![search.as_str(), test.as_str(), "W bits", "A bits"];
    titles.extend(CostKind::ALL.iter().map(|kind| kind.word()));
    titles.push("of 8/8");
    let mut columns = vec![text_column("")];
    columns.extend(titles.into_iter().map(number_column));
    let mut table = start(look, &columns);
    let show = |quality: Option<f64>| quality.map_or("–".into(), |quality| measure.show(quality));
    for compared in comparison(run) {
        let bits = compared.mean_bits.map(|(w, a)| (format!("{w:.2}"), format!("{a:.2}")));
        let (weights, activations) = bits.unwrap_or(("32".into(), "32".into()));
        let mut row = vec![
            Cell::new(compared.name),
            number(show(compared.quality_search)),
            number(show(compared.quality_test)),
            number(weights),
            number(activations),
        ];
        for kind in CostKind::ALL {
            row.push(number(
                compared.cost.map_or("–".into(), |cost| show_cost(kind, cost.get(kind))),
            ));
        }
        let ratio =
            compared.cost.and_then(|cost| run.ratio_to_eight_bit(&cost, run.description.objective));
        row.push(number(ratio.map_or("–".into(), |ratio| format!("{ratio:.3}"))));
        add(&mut table, row);
    }
    finish(table)
}

/// A list of runs, in the order given; on a narrow terminal it says less of each.
pub fn run_table(runs: &[RunRow], look: Look) -> String {
    let wide = look.width.is_none_or(|width| width >= 120);
    let mut columns = vec![
        number_column("run"),
        text_column("state"),
        Column { title: "model", fit: Fit::Cut },
        Column { title: "device", fit: Fit::Cut },
        number_column("episodes"),
        number_column("quality"),
        number_column("cost"),
    ];
    if wide {
        columns.extend(["to float", "of 8/8", "seed"].map(number_column));
        columns.push(text_column("strategy"));
    }
    columns.push(Column { title: "budget", fit: Fit::Cut });
    let mut table = start(look, &columns);
    for run in runs {
        let quality = run.quality.map(|quality| {
            (run.measure.show(quality), signed(run.measure, quality, run.float_quality))
        });
        let (quality, to_float) = quality.unwrap_or_default();
        let mut row = vec![
            number(run.id.to_string()),
            state_cell(run.state, look),
            words(&run.model),
            words(&run.profile),
            number(format!("{}/{}", run.episodes, run.episodes_planned)),
            number(quality),
            number(run.cost.map_or(String::new(), |cost| show_cost(run.objective, cost))),
        ];
        if wide {
            let ratio = run.cost_ratio.map_or(String::new(), |ratio| format!("{ratio:.3}"));
            row.extend([number(to_float), number(ratio), number(run.seed.to_string())]);
            row.push(Cell::new(run.strategy.word()));
        }
        row.push(words(&run.budget));
        add(&mut table, row);
    }
    finish(table)
}

/// A count as a person reads it: `980`, `41.3 k`, `1.2 M`.
pub fn count(value: u64) -> String {
    let value = value as f64;
    let steps = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    match steps.into_iter().find(|(size, _)| value >= *size) {
        Some((size, name)) if value / size >= 100.0 => format!("{:.0} {name}", value / size),
        Some((size, name)) => format!("{:.1} {name}", value / size),
        None => format!("{value:.0}"),
    }
}

/// A share as percent with one digit after the point.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A change as percent with its sign; `0` where nothing is to be seen of it.
pub fn signed_percent(change: f64) -> String {
    let text = format!("{:+.1} %", change * 100.0);
    match text.as_str() {
        "+0.0 %" | "-0.0 %" => "0".into(),
        text => text.replace('-', "−"),
    }
}

/// The distance to float with its sign; shares in points.
pub fn signed(measure: Measure, quality: f64, float: Option<f64>) -> String {
    let Some(float) = float else { return String::new() };
    let text = match measure {
        Measure::Top1 | Measure::Top5 | Measure::Agreement => {
            format!("{:+.2}", (quality - float) * 100.0)
        }
        Measure::Kl | Measure::Mse => format!("{:+.4}", float - quality),
    };
    match difference(measure, quality, float).as_str() {
        "equal to" => "0".into(),
        _ => text.replace('-', "−"),
    }
}

/// How a column takes to a narrow terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// As wide as its content, which stands left or right.
    Text,
    Number,
    /// Cut to what room is left.
    Cut,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Column<'a> {
    pub title: &'a str,
    pub fit: Fit,
}

pub(super) fn text_column(title: &str) -> Column<'_> {
    Column { title, fit: Fit::Text }
}

pub(super) fn number_column(title: &str) -> Column<'_> {
    Column { title, fit: Fit::Number }
}

/// A line below the titles and nothing else.
const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

pub(super) fn start(look: Look, columns: &[Column]) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_truncation_indicator("…");
    if look.colour {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    let titles = columns.iter().map(|column| {
        let cell = match column.fit {
            Fit::Number => number(column.title),
            Fit::Text | Fit::Cut => Cell::new(column.title),
        };
        if look.colour { cell.add_attribute(Attribute::Bold) } else { cell }
    });
    table.set_header(titles.collect::<Vec<_>>());
    match look.width {
        Some(width) => {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    for (column, made) in columns.iter().zip(table.column_iter_mut()) {
        made.set_padding((0, 1));
        if column.fit != Fit::Cut {
            made.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table
}

/// A row takes one line, whatever its names: what does not fit is cut.
pub(super) fn add(table: &mut Table, cells: Vec<Cell>) {
    let mut row = Row::from(cells);
    row.max_height(1);
    table.add_row(row);
}

pub(super) fn finish(table: Table) -> String {
    table.trim_fmt()
}

pub(super) fn number(text: impl ToString) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// Words from outside, which may hold anything.
pub(super) fn words(text: &str) -> Cell {
    Cell::new(printable(text))
}

fn bits_cell(bits: u8, pinned: bool, look: Look) -> Cell {
    let mark = if pinned { "*" } else { "" };
    let cell = number(format!("{bits}{mark}"));
    match (look.colour, pinned, bits) {
        (false, ..) => cell,
        (true, true, _) => cell.add_attribute(Attribute::Dim),
        (true, false, 0..=3) => cell.fg(Color::Green),
        (true, false, 4..=5) => cell.fg(Color::Cyan),
        _ => cell,
    }
}

fn bound_cell(bound: Option<Bound>, look: Look) -> Cell {
    let cell = Cell::new(bound.map_or(String::new(), |bound| bound.to_string()));
    let is_memory = bound == Some(Bound::Memory);
    if look.colour && is_memory { cell.fg(Color::Yellow) } else { cell }
}

fn state_cell(state: RunState, look: Look) -> Cell {
    let cell = Cell::new(state.word());
    if !look.colour {
        return cell;
    }
    cell.fg(match state {
        RunState::Running => Color::Cyan,
        RunState::Completed => Color::Green,
        RunState::Interrupted => Color::Yellow,
        RunState::Failed => Color::Red,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_shares_read_well() {
        for (value, expected) in [
            (0, "0"),
            (980, "980"),
            (41_300, "41.3 k"),
            (1_234_567, "1.2 M"),
            (412_000_000, "412 M"),
            (u64::MAX, "18446744 T"),
        ] {
            assert_eq!(count(value), expected);
        }
        assert_eq!(percent(0.1234), "12.3 %");
    }

    #[test]
    fn the_distance_to_float_has_a_sign_only_when_there_is_one() {
        for (measure, quality, float, expected) in [
            (Measure::Top1, 0.90, Some(0.91), "−1.00"),
            (Measure::Top1, 0.92, Some(0.91), "+1.00"),
            (Measure::Top1, 0.91, Some(0.91), "0"),
            (Measure::Kl, -0.02, Some(0.0), "+0.0200"),
            (Measure::Top1, 0.91, None, ""),
        ] {
            assert_eq!(signed(measure, quality, float), expected, "{measure} {quality}");
        }
    }
}
