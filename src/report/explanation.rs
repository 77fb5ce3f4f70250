//! Why each layer has its bits, as a table for a terminal and as rows of the page.

use crate::{
    domain::{BitChange, LayerExplanation, Operand, Reason},
    report::{
        RunView,
        layer_axis::layer_names,
        tables::{
            Column, Fit, Look, add, finish, number, number_column, percent, signed_percent, start,
            text_column, words,
        },
    },
};

/// Terminals that have room for everything in one table, and for changes in one of their own.
const ONE_TABLE: u16 = 170;
const TWO_TABLES: u16 = 105;

/// The four neighbours of a layer's bits, as columns are named.
pub const NEIGHBOURS: [&str; 4] = ["W up", "W down", "A up", "A down"];

/// What holds for the columns of changes, wherever they are shown.
pub const PREDICTED: &str = "predicted, not measured: KL from this run's own policies, cost by the \
                             model; ! breaks a budget";

/// One layer in words.
pub struct ExplanationRow {
    pub index: usize,
    pub name: String,
    pub full_name: String,
    pub bits: String,
    pub why: String,
    pub weight_kl: String,
    pub activation_kl: String,
    pub cost_share: String,
    /// As [`NEIGHBOURS`]; empty where there is no such width.
    pub changes: [String; 4],
}

/// The rows of a run's best policy; none while it has none.
pub fn explanation_rows(run: &RunView) -> Vec<ExplanationRow> {
    let names = layer_names(run, run.explanation.len());
    let row = |(layer, name): (&LayerExplanation, &String)| ExplanationRow {
        index: layer.layer_index,
        name: name.clone(),
        full_name: layer.name.clone(),
        bits: layer.bits.to_string(),
        why: why(layer, &names),
        weight_kl: kl(layer.weight_kl),
        activation_kl: kl(layer.activation_kl),
        cost_share: layer.cost_share.map_or(String::new(), percent),
        changes: neighbours(layer).map(|change| change.map_or(String::new(), in_words)),
    };
    run.explanation.iter().zip(&names).map(row).collect()
}

/// Why each layer of the best policy has its bits, and what the next width would change; a narrow
/// terminal gets the latter in a table of its own, a very narrow one not at all.
///
/// Empty text while the run has no policy within its budgets.
pub fn explanation_table(run: &RunView, look: Look) -> String {
    let rows = explanation_rows(run);
    if rows.is_empty() {
        return String::new();
    }
    let fits = |columns: u16| look.width.is_none_or(|width| width >= columns);
    let share = format!("of {}", run.description.objective);
    let mut columns = name_columns();
    columns.extend([text_column("W/A"), Column { title: "why", fit: Fit::Cut }]);
    columns.extend(["KL of W", "KL of A", &share].map(number_column));
    if fits(ONE_TABLE) {
        columns.extend(NEIGHBOURS.map(text_column));
    }
    let mut table = start(look, &columns);
    for row in &rows {
        let mut cells = name_cells(row);
        cells.extend([
            words(&row.bits),
            words(&row.why),
            number(&row.weight_kl),
            number(&row.activation_kl),
            number(&row.cost_share),
        ]);
        if fits(ONE_TABLE) {
            cells.extend(row.changes.iter().map(|change| words(change)));
        }
        add(&mut table, cells);
    }
    let mut text = finish(table);
    text += "\nKL of W, of A: what the tensor alone at its bits takes, in nats from float";
    if run.explanation.iter().all(|layer| layer.weight_kl.is_none()) {
        text += "\nsensitivities were not measured for this run";
    }
    if !fits(TWO_TABLES) {
        return text
            + "\nhaq report, --json or a wider terminal shows what other bits would change";
    }
    if !fits(ONE_TABLE) {
        text += &format!("\n\n{}", changes_table(&rows, look));
    }
    let next = format!("up, down: the next width, with the change of KL and of {}", &share[3..]);
    text + &format!("\n{next},\n{PREDICTED}")
}

fn changes_table(rows: &[ExplanationRow], look: Look) -> String {
    let mut columns = name_columns();
    columns.extend(NEIGHBOURS.map(text_column));
    let mut table = start(look, &columns);
    for row in rows {
        let mut cells = name_cells(row);
        cells.extend(row.changes.iter().map(|change| words(change)));
        add(&mut table, cells);
    }
    finish(table)
}

fn name_columns() -> Vec<Column<'static>> {
    vec![number_column("#"), Column { title: "layer", fit: Fit::Cut }]
}

fn name_cells(row: &ExplanationRow) -> Vec<comfy_table::Cell> {
    vec![number(row.index), words(&row.name)]
}

/// Why each layer has its bits, in words.
///
/// - `names`: of all layers
pub fn reasons(explanation: &[LayerExplanation], names: &[String]) -> Vec<String> {
    explanation.iter().map(|layer| why(layer, names)).collect()
}

fn why(layer: &LayerExplanation, names: &[String]) -> String {
    let why = match layer.reason {
        Reason::Pinned => "pinned".into(),
        Reason::OneChoice => "one width only".into(),
        Reason::Clamped => format!("clamped by the budget from {}", layer.proposed),
        Reason::HeldByBudget => "the next bit breaks the budget".into(),
        Reason::Widest => "widest offered".into(),
        Reason::Chosen => "chosen".into(),
    };
    match layer.reads_tensor_of.and_then(|owner| names.get(owner)) {
        Some(owner) => format!("{why}; A with {owner}"),
        None => why,
    }
}

fn neighbours(layer: &LayerExplanation) -> [Option<&BitChange>; 4] {
    let find = |operand, wider: bool| {
        let is =
            |change: &&BitChange| change.operand == operand && (change.to > change.from) == wider;
        layer.changes.iter().find(is)
    };
    [
        find(Operand::Weight, true),
        find(Operand::Weight, false),
        find(Operand::Activation, true),
        find(Operand::Activation, false),
    ]
}

/// `5: −0.0012, +3.1 %`
fn in_words(change: &BitChange) -> String {
    let kl = change.predicted_kl_change.map_or(String::new(), |kl| format!("{}, ", signed_kl(kl)));
    let cost = signed_percent(change.predicted_cost_change);
    let mark = if change.breaks_a_budget { " !" } else { "" };
    format!("{}: {kl}{cost}{mark}", change.to)
}

fn signed_kl(kl: f64) -> String {
    let text = match kl.abs() {
        0.0 => return "0".into(),
        small if small < 1e-4 => format!("{kl:+.0e}"),
        _ => format!("{kl:+.4}"),
    };
    text.replace('-', "−")
}

fn kl(value: Option<f64>) -> String {
    match value {
        None => "–".into(),
        Some(kl) if kl != 0.0 && kl.abs() < 1e-4 => format!("{kl:.0e}").replace('-', "−"),
        Some(kl) => format!("{kl:.4}"),
    }
}
