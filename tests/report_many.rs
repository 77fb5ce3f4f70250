//! Several runs beside each other: standings, convergence, differences; and a policy explained.

mod report_runs;

use haq::{
    domain::{
        BitChange, Bits, CostKind, LayerExplanation, Measure, Operand, Reason, RunState, Strategy,
    },
    report::{
        ConvergenceFigure, Figure as _, Look, ReportError, RunView, difference_table,
        explanation_table, groups, layer_difference_table, page, run_differences, standings,
        standings_table,
    },
};
use report_runs::{Plan, run};

/// Two strategies over three seeds each; the second one stopped early.
fn contest() -> Vec<RunView> {
    let mut runs = Vec::new();
    for (strategy, episodes) in [(Strategy::Ddpg, 60), (Strategy::Evolution, 25)] {
        for seed in 1..=3 {
            let id = runs.len() as i64 + 1;
            let mut made = run(&Plan { id, seed, episodes, ..Plan::default() });
            made.description.strategy = strategy;
            made.description.episodes_planned = 60;
            runs.push(made);
        }
    }
    runs
}

fn borrowed(runs: &[RunView]) -> Vec<&RunView> {
    runs.iter().collect()
}

#[test]
fn seeds_make_a_group_and_what_differs_names_it() {
    let mut runs = contest();
    let found = groups(&borrowed(&runs));
    let shown: Vec<(&str, usize)> =
        found.iter().map(|group| (group.label.as_str(), group.runs.len())).collect();
    assert_eq!(shown, [("ddpg", 3), ("evolution", 3)]);
    runs[0].description.profile = "edge-tpu".into();
    let labels: Vec<String> =
        groups(&borrowed(&runs)).into_iter().map(|group| group.label).collect();
    assert_eq!(labels, ["ddpg on edge-tpu", "ddpg on bismo-edge", "evolution on bismo-edge"]);
}

#[test]
fn standings_have_mean_and_spread_over_seeds() {
    let runs = contest();
    let found = standings(&borrowed(&runs));
    assert_eq!(found[0].runs, [1, 2, 3]);
    let tests: Vec<f64> = runs[..3]
        .iter()
        .map(|run| run.tested_quality(&run.best().unwrap().policy).unwrap())
        .collect();
    let figures = found[0].quality_test.unwrap();
    assert!((figures.mean - tests.iter().sum::<f64>() / 3.0).abs() < 1e-12);
    assert!(figures.deviation.unwrap() > 0.0);
    assert_eq!(figures.most, tests.iter().copied().fold(0.0, f64::max));
    let alone = standings(&borrowed(&runs[..1]));
    assert_eq!(alone[0].quality_test.unwrap().deviation, None);
    let table = standings_table(&borrowed(&runs), Look::default());
    for words in ["ddpg", "evolution", "±", "reference point: the latency of 8/8 and 0 %"] {
        assert!(table.contains(words), "{words} in\n{table}");
    }
}

#[test]
fn convergence_is_drawn_for_one_run_and_for_seeds_as_bands() {
    let runs = contest();
    let svg = ConvergenceFigure::new(&borrowed(&runs)).unwrap().svg().unwrap();
    for words in ["ddpg, mean of 3", "from the worst to the best seed", "hypervolume", "seconds"] {
        assert!(svg.contains(words), "{words}");
    }
    assert!(svg.matches("<polygon").count() >= 6, "a band for each group and panel");
    let alone = ConvergenceFigure::new(&borrowed(&runs[..1])).unwrap().svg().unwrap();
    assert!(!alone.contains("seed, ") && alone.contains("run 1"));

    let kl = run(&Plan { id: 9, measure: Measure::Kl, ..Plan::default() });
    let error = ConvergenceFigure::new(&[&runs[0], &kl]).unwrap_err();
    assert!(matches!(error, ReportError::Incomparable { first: 1, other: 9, .. }), "{error}");
    assert!(matches!(ConvergenceFigure::new(&[]), Err(ReportError::Empty(_))));
    let mut barely = runs[0].clone();
    barely.episodes.truncate(1);
    barely.result.state = RunState::Interrupted;
    barely.result.best_episode = None;
    assert!(matches!(ConvergenceFigure::new(&[&barely]), Err(ReportError::Empty(_))));
}

#[test]
fn differences_are_against_the_first_run() {
    let mut runs = contest();
    let found = run_differences(&runs[..2]);
    let (first, second) = (runs[0].best().unwrap(), runs[1].best().unwrap());
    let expected = second.cost.latency_s / first.cost.latency_s - 1.0;
    assert!((found[0].latency.unwrap() - expected).abs() < 1e-12);
    let differ = first.policy.layers().iter().zip(second.policy.layers()).filter(|(a, b)| a != b);
    assert_eq!(found[0].n_layers_that_differ, differ.count());
    assert_eq!(run_differences(&[runs[0].clone(), runs[0].clone()])[0].n_layers_that_differ, 0);

    runs[1].description.profile = "edge-tpu".into();
    assert_eq!(run_differences(&runs[..2])[0].latency, None);
    let table = difference_table(&runs[..2], Look::default());
    assert!(table.contains("another device or batch"), "{table}");
    let layers = layer_difference_table(&runs[..2], Look::default());
    assert!(layers.contains("run 1") && layers.contains("run 2"), "{layers}");
}

/// The best policy of a run with made-up reasons, one of each kind.
fn explained() -> RunView {
    let mut run = run(&Plan::default());
    let best = run.best().unwrap().clone();
    let reasons = [
        Reason::Pinned,
        Reason::OneChoice,
        Reason::Clamped,
        Reason::HeldByBudget,
        Reason::Widest,
        Reason::Chosen,
    ];
    let width = |bits| Bits::new(bits).unwrap();
    let explanation = |(index, &bits)| LayerExplanation {
        layer_index: index,
        name: run.description.layers[index].name.clone(),
        bits,
        proposed: bits,
        reason: reasons[index % reasons.len()],
        reads_tensor_of: (index == 3).then_some(2),
        weight_kl: (index > 0).then_some(0.000_02),
        activation_kl: (index > 0).then_some(0.0123),
        cost_share: Some(0.05),
        changes: vec![BitChange {
            operand: Operand::Weight,
            from: width(4),
            to: width(5),
            predicted_kl_change: Some(-0.0012),
            predicted_cost: best.cost,
            predicted_cost_change: 0.031,
            breaks_a_budget: true,
        }],
    };
    run.explanation = best.policy.layers().iter().enumerate().map(explanation).collect();
    run
}

#[test]
fn an_explanation_says_why_and_marks_what_is_predicted() {
    let run = explained();
    let table = explanation_table(&run, Look::default());
    for words in [
        "pinned",
        "one width only",
        "clamped by the budget from",
        "the next bit breaks the budget",
        "widest offered",
        "A with",
        "2e−5",
        "0.0123",
        "5: −0.0012, +3.1 % !",
        "predicted, not measured",
    ] {
        assert!(table.contains(words), "{words} in\n{table}");
    }
    let page = page(&run).unwrap();
    assert!(page.contains("Why these bits") && page.contains("predicted, not measured"));
    assert!(page.contains("5: −0.0012, +3.1 % !"));
    let mut unexplained = run.clone();
    unexplained.explanation.clear();
    assert_eq!(explanation_table(&unexplained, Look::default()), "");
}

#[test]
fn tables_of_many_runs_keep_to_the_width() {
    let (runs, explained) = (contest(), explained());
    for width in [80, 100, 120, 200] {
        let look = Look { colour: false, width: Some(width) };
        for (name, table) in [
            ("explanation", explanation_table(&explained, look)),
            ("standings", standings_table(&borrowed(&runs), look)),
            ("layers", layer_difference_table(&runs[..2], look)),
        ] {
            for line in table.lines() {
                let columns = line.chars().count();
                assert!(columns <= width.into(), "{name} at {width}: {columns} in {line:?}");
            }
        }
    }
    assert_eq!(runs[0].description.objective, CostKind::Latency);
}
