//! Reports over made-up runs: files, sizes, what they say, and what strange runs do to them.

mod report_runs;

use std::path::Path;

use haq::{
    domain::{CostKind, EpisodeKind, EpisodeRecord, LayerBits, Measure, RunState},
    report::{
        BitsFigure, ConvergenceFigure, CostFigure, Figure, LearningFigure, Look, ParetoFigure,
        ReportError, RunRow, RunView, comparison_table, front_table, layer_table, page, run_table,
        summary_sentence, write_page,
    },
};
use report_runs::{Plan, run};

/// Every SVG a run has, with its name; figures that have nothing to draw are left out.
fn svgs(run: &RunView) -> Vec<(String, String)> {
    let mut drawn = Vec::new();
    let mut keep = |name: &str, svg: Result<String, ReportError>| match svg {
        Ok(svg) => drawn.push((name.to_owned(), svg)),
        Err(ReportError::Empty(_)) => {}
        Err(error) => panic!("{name}: {error}"),
    };
    for kind in CostKind::ALL {
        keep(kind.word(), ParetoFigure::new(&[run], kind).and_then(|figure| figure.svg()));
    }
    keep("bits", BitsFigure::of_best(run).and_then(|figure| figure.svg()));
    keep("learning", LearningFigure::new(run).and_then(|figure| figure.svg()));
    keep("costs", CostFigure::of_best(run).and_then(|figure| figure.svg()));
    keep("convergence", ConvergenceFigure::new(&[run]).and_then(|figure| figure.svg()));
    drawn
}

/// Panics where tags do not nest, or a sign stands where XML forbids it.
fn assert_well_formed(name: &str, xml: &str) {
    assert!(!xml.chars().any(|c| c.is_control() && c != '\n'), "{name}: control character");
    let mut open: Vec<&str> = Vec::new();
    let mut rest = xml;
    while let Some(start) = rest.find('<') {
        assert!(!rest[..start].contains('>'), "{name}: stray > before {}", &rest[..start]);
        let end = start + rest[start..].find('>').expect("a tag ends");
        let tag = &rest[start + 1..end];
        assert_eq!(tag.matches('"').count() % 2, 0, "{name}: quotes in {tag}");
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "{name}");
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().expect("a tag has a name"));
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty(), "{name}: {open:?} stay open");
    for (index, _) in xml.match_indices('&') {
        let entities = ["&lt;", "&gt;", "&amp;", "&quot;", "&apos;"];
        let known = entities.iter().any(|entity| xml[index..].starts_with(entity));
        assert!(known, "{name}: bare & at {index}");
    }
}

#[test]
fn every_figure_is_written_as_svg_and_as_png_of_twice_the_size() {
    let run = run(&Plan { episodes: 60, ..Plan::default() });
    let folder = tempfile::tempdir().unwrap();
    let check = |name: &str, write: &dyn Fn(&Path) -> Result<(), ReportError>| {
        let svg = folder.path().join(name).with_extension("svg");
        write(&svg).unwrap();
        let svg = std::fs::read_to_string(svg).unwrap();
        assert_well_formed(name, &svg);
        assert!(svg.contains("width=\"1000\" height=\"640\""), "{name}");
        assert!(svg.contains("resnet20_cifar10.onnx"), "{name}");
        let png = folder.path().join(name).with_extension("PNG");
        write(&png).unwrap();
        let picture = image::load_from_memory(&std::fs::read(png).unwrap()).unwrap().to_rgb8();
        assert_eq!(picture.dimensions(), (2000, 1280), "{name}");
        // The title is there, in the font the binary carries.
        let dark = (0..picture.width())
            .flat_map(|x| (30..80).map(move |y| (x, y)))
            .filter(|&(x, y)| picture.get_pixel(x, y).0.iter().all(|&channel| channel < 90))
            .count();
        assert!(dark > 2000, "{name}: {dark} dark pixels where the title should be");
    };
    let pareto = ParetoFigure::new(&[&run], CostKind::Latency).unwrap();
    check("pareto", &|path| pareto.write(path));
    let bits = BitsFigure::of_best(&run).unwrap();
    check("bits", &|path| bits.write(path));
    let learning = LearningFigure::new(&run).unwrap();
    check("learning", &|path| learning.write(path));
    let costs = CostFigure::of_best(&run).unwrap();
    check("costs", &|path| costs.write(path));
}

#[test]
fn an_overlay_names_every_run_and_each_uniform_policy_once() {
    let runs: Vec<RunView> = (1..=7)
        .map(|id| run(&Plan { id, seed: id as u64, episodes: 30, ..Plan::default() }))
        .collect();
    let views: Vec<&RunView> = runs.iter().collect();
    let svg = ParetoFigure::new(&views, CostKind::Latency).unwrap().svg().unwrap();
    assert_well_formed("overlay", &svg);
    for run in &runs {
        assert!(svg.contains(&run.label()), "{}", run.label());
    }
    assert_eq!(svg.matches("\n8/8\n").count(), 1);
}

#[test]
fn a_single_run_shows_float_budget_uniform_policies_and_the_choice() {
    let run = run(&Plan { budget: Some(0.5), ..Plan::default() });
    let svg = ParetoFigure::new(&[&run], CostKind::Latency).unwrap().svg().unwrap();
    for words in ["float 91.70 %", "budget 3.541 ms", "\n8/8\n", "\n5/5\n", "latency (ms)"] {
        assert!(svg.contains(words), "{words}");
    }
    let best = run.best().unwrap();
    let chosen = run.description.measure.show(run.quality(best).unwrap());
    assert!(svg.contains(&format!("{chosen} at ")), "{chosen}");
    let other = ParetoFigure::new(&[&run], CostKind::Energy).unwrap().svg().unwrap();
    assert!(!other.contains("budget 3"), "a latency budget has no place on an energy axis");
}

#[test]
fn runs_that_measured_different_things_do_not_share_a_plot() {
    let first = run(&Plan { episodes: 5, ..Plan::default() });
    let kl = run(&Plan { id: 13, episodes: 5, measure: Measure::Kl, ..Plan::default() });
    let mut batched = first.clone();
    batched.id = 14;
    batched.description.batch = 16;
    for (other, expected) in [(&kl, "one measured top1, the other kl"), (&batched, "batch of 1")] {
        let error = ParetoFigure::new(&[&first, other], CostKind::Latency).unwrap_err();
        assert!(matches!(error, ReportError::Incomparable { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert!(ParetoFigure::new(&[&first, &batched], CostKind::Size).is_ok());
}

/// A run with its episodes changed, and a best episode only if it is still there.
fn with_episodes(run: &RunView, change: impl Fn(&mut Vec<EpisodeRecord>)) -> RunView {
    let mut run = run.clone();
    change(&mut run.episodes);
    run
}

#[test]
fn strange_runs_are_drawn_or_refused_but_never_panic() {
    let whole = run(&Plan { episodes: 40, ..Plan::default() });
    let nan = f64::NAN;
    let cases: Vec<(&str, RunView)> = vec![
        ("no episodes", with_episodes(&whole, Vec::clear)),
        ("one episode", with_episodes(&whole, |episodes| episodes.truncate(1))),
        ("two equal", with_episodes(&whole, |e| *e = vec![e[9].clone(), e[9].clone()])),
        (
            "all identical",
            with_episodes(&whole, |episodes| {
                let (quality, cost) = (episodes[9].quality, episodes[9].cost);
                for episode in episodes {
                    (episode.quality, episode.cost) = (quality, cost);
                }
            }),
        ),
        (
            "no quality is a number",
            with_episodes(&whole, |episodes| {
                for episode in episodes {
                    episode.quality.top1 = Some(nan);
                }
            }),
        ),
        (
            "some costs are infinite or no number",
            with_episodes(&whole, |episodes| {
                for episode in episodes.iter_mut().step_by(3) {
                    episode.cost.latency_s = nan;
                    episode.cost.energy_j = f64::INFINITY;
                }
            }),
        ),
        (
            "costs of zero",
            with_episodes(&whole, |episodes| {
                for episode in episodes {
                    (episode.cost.latency_s, episode.cost.energy_j) = (0.0, 0.0);
                    (episode.cost.size_bytes, episode.cost.peak_memory_bytes) = (0, 0);
                }
            }),
        ),
        (
            "costs beyond all measure",
            with_episodes(&whole, |episodes| {
                episodes[3].cost.latency_s = f64::MAX;
                episodes[4].cost.energy_j = -f64::MAX;
                episodes[5].cost.size_bytes = u64::MAX;
            }),
        ),
        ("fewer layers described than the policy has", {
            let mut run = whole.clone();
            run.description.layers.truncate(3);
            run.best_layers.truncate(5);
            run
        }),
        ("budgets that are no numbers", {
            let mut run = whole.clone();
            run.description.budgets[0].limit = nan;
            run
        }),
        ("noise that is no number", {
            let mut run = whole.clone();
            run.exploration = vec![nan, f64::INFINITY, -1.0, 0.3];
            run
        }),
    ];
    for (name, run) in &cases {
        for (figure, svg) in svgs(run) {
            assert_well_formed(&format!("{name}: {figure}"), &svg);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{name}: {figure}");
        }
        if let Ok(figure) = ParetoFigure::new(&[run], CostKind::Latency) {
            figure.png().unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let page = page(run).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(page.contains("</html>"), "{name}");
        summary_sentence(run);
        layer_table(run, Look::default());
        front_table(run, CostKind::Latency, Look::default());
        comparison_table(run, Look::default());
    }
    let drawn: Vec<usize> = cases.iter().map(|(_, run)| svgs(run).len()).collect();
    assert_eq!(drawn[0], 1, "without episodes only the stored layer costs are drawn");
    assert!(drawn[1] >= 5, "{drawn:?}");
}

#[test]
fn fifty_thousand_policies_stay_a_small_file() {
    let mut run = run(&Plan { episodes: 100, budget: None, ..Plan::default() });
    let tried = run.episodes.clone();
    for index in tried.len()..50_000 {
        let mut episode = tried[7 + index % (tried.len() - 7)].clone();
        episode.index = index as u32;
        let shift = (index as f64 * 0.618).fract();
        episode.cost.latency_s *= 1.0 + shift;
        episode.quality.top1 = episode.quality.top1.map(|top1| top1 * (1.0 - 0.05 * shift));
        run.episodes.push(episode);
    }
    for (name, svg) in svgs(&run) {
        assert!(svg.len() < 600_000, "{name}: {} bytes", svg.len());
    }
}

#[test]
fn a_network_of_many_layers_still_fits() {
    for n_layers in [1, 31, 160, 1200] {
        let run = run(&Plan { n_layers, episodes: 5, budget: None, ..Plan::default() });
        for (name, svg) in svgs(&run) {
            assert_well_formed(&format!("{n_layers} layers: {name}"), &svg);
        }
    }
}

const HOSTILE: &str = "<script>alert(\"x\")</script>&'\u{1}\u{FFFE}\n";

#[test]
fn names_from_outside_are_escaped_everywhere() {
    let mut run = run(&Plan { episodes: 20, ..Plan::default() });
    run.description.model = HOSTILE.into();
    run.description.profile = HOSTILE.into();
    run.description.data = HOSTILE.into();
    run.result.error = Some(HOSTILE.into());
    run.commands.push(HOSTILE.into());
    run.provenance.push((HOSTILE.into(), HOSTILE.into()));
    run.splits[0].name = HOSTILE.into();
    run.description.config = serde_json::json!({ "x": HOSTILE });
    for layer in &mut run.description.layers {
        layer.name = HOSTILE.into();
        layer.kind = HOSTILE.into();
    }
    for (name, svg) in svgs(&run) {
        assert_well_formed(&name, &svg);
    }
    let page = page(&run).unwrap();
    assert!(!page.contains("<script"));
    assert!(page.contains("&lt;script&gt;") || page.contains("&#60;script&#62;"));
    let look = Look { colour: false, width: Some(120) };
    for table in [layer_table(&run, look), run_table(&[RunRow::of(&run)], look)] {
        let control = table.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(control, None, "a terminal gets no control characters");
    }
}

#[test]
fn the_page_holds_everything_and_asks_for_nothing() {
    let run = run(&Plan { episodes: 50, ..Plan::default() });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    write_page(&run, &path).unwrap();
    let page = std::fs::read_to_string(path).unwrap();
    for outside in ["http:", "https:", "//www", "src=", "url(", "@import", "<link", "<script"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert_eq!(page.matches("<svg").count(), 8, "five plots and three more fronts");
    for layer in &run.description.layers {
        assert!(page.contains(&format!("title=\"{}\"", layer.name)), "{}", layer.name);
    }
    for words in [
        run.description.model_digest.as_str(),
        "calibration",
        "10000",
        "haq report 12",
        "data digest",
        "prefers-color-scheme: dark",
        "uniform 6/6",
        "latency at most",
    ] {
        assert!(page.contains(words), "{words}");
    }
}

#[test]
fn every_colour_of_a_plot_has_its_dark_counterpart() {
    let run = run(&Plan { episodes: 50, depthwise: true, ..Plan::default() });
    let mut overlay: Vec<RunView> = vec![run.clone(); 6];
    overlay[0].id = 13;
    let views: Vec<&RunView> = overlay.iter().collect();
    let mut plots = svgs(&run);
    let svg = ParetoFigure::new(&views, CostKind::Latency).unwrap().svg().unwrap();
    plots.push(("overlay".into(), svg));
    let page = page(&run).unwrap();
    for (name, svg) in plots {
        for attribute in ["fill", "stroke"] {
            for (at, start) in svg.match_indices(&format!(" {attribute}=\"#")) {
                let colour = &svg[at + 1..at + start.len() + 7];
                assert!(page.contains(&format!("figure [{colour}]")), "{name}: {colour}");
            }
        }
    }
}

#[test]
fn a_run_without_a_policy_gets_a_page_that_says_so() {
    let mut run = run(&Plan { episodes: 10, ..Plan::default() });
    run.result.state = RunState::Interrupted;
    run.result.best_episode = None;
    run.best_layers.clear();
    let page = page(&run).unwrap();
    assert!(page.contains("No plot: run 12 has no policy within its budgets"));
    assert_eq!(
        summary_sentence(&run),
        "Run 12 is interrupted after 17 episodes and has no policy within its budgets."
    );
    assert_eq!(layer_table(&run, Look::default()), "");
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let run = run(&Plan { episodes: 5, ..Plan::default() });
    let figure = ParetoFigure::new(&[&run], CostKind::Latency).unwrap();
    let missing = Path::new("no-such-folder/front.svg");
    let error = figure.write(missing).unwrap_err().to_string();
    assert!(error.contains("no-such-folder/front.svg: cannot be written"), "{error}");
    let error = write_page(&run, missing).unwrap_err().to_string();
    assert!(error.contains("no-such-folder/front.svg: cannot be written"), "{error}");
    for name in ["front.jpg", "front"] {
        let error = figure.write(Path::new(name)).unwrap_err().to_string();
        assert!(
            error.contains("neither .svg nor .png") || error.contains(".svg nor .png"),
            "{error}"
        );
    }
}

#[test]
fn tables_keep_to_the_width_and_to_plain_text() {
    let run = run(&Plan { episodes: 40, n_layers: 50, depthwise: true, ..Plan::default() });
    let rows = [RunRow::of(&run), RunRow::of(&run)];
    for width in [80, 100, 120, 200] {
        let look = Look { colour: false, width: Some(width) };
        for (name, table) in [("layers", layer_table(&run, look)), ("runs", run_table(&rows, look))]
        {
            assert!(!table.contains('\u{1b}'), "{name}");
            for line in table.lines() {
                let columns = line.chars().count();
                assert!(columns <= width.into(), "{name} at {width}: {columns} in {line:?}");
            }
        }
        assert_eq!(layer_table(&run, look).lines().count(), 2 + 50 + 1);
    }
    assert!(layer_table(&run, Look { colour: true, width: None }).contains('\u{1b}'));
}

#[test]
fn tables_say_what_the_run_found() {
    let run = run(&Plan { episodes: 60, ..Plan::default() });
    let layers = layer_table(&run, Look::default());
    for words in ["8*", "pinned", "latency", "bound", "compute", "memory", "classifier/fc"] {
        assert!(layers.contains(words), "{words} in\n{layers}");
    }
    let front = front_table(&run, CostKind::Latency, Look::default());
    assert_eq!(front.lines().count(), 2 + run.front(CostKind::Latency).len());
    assert_eq!(front.matches("chosen").count(), 1);
    let comparison = comparison_table(&run, Look::default());
    let firsts: Vec<&str> =
        comparison.lines().skip(2).map(|line| line.split("  ").next().unwrap()).collect();
    assert_eq!(firsts, ["float", "8/8", "uniform 6/6", "chosen"]);
    let list = run_table(&[RunRow::of(&run)], Look::default());
    for words in ["12", "completed", "resnet20_cifar10.onnx", "bismo-edge", "latency=0.6"] {
        assert!(list.contains(words), "{words} in\n{list}");
    }
}

#[test]
fn the_sentence_compares_on_one_split_at_a_time() {
    let mut run = run(&Plan { episodes: 60, ..Plan::default() });
    let sentence = summary_sentence(&run);
    for words in ["of run 12 has", "on the test split", "% of 8/8", "on the search split it is"] {
        assert!(sentence.contains(words), "{words} in {sentence}");
    }
    assert!(sentence.contains("6/6, the best uniform policy within the budget"), "{sentence}");

    run.tested = run
        .references()
        .iter()
        .map(|reference| (reference.episode.policy.clone(), reference.episode.quality))
        .collect();
    assert!(summary_sentence(&run).contains("on the test split it is"));

    run.result.best_test = None;
    run.tested.clear();
    assert!(!summary_sentence(&run).contains("test split"));
}

#[test]
fn the_front_holds_only_what_meets_the_budgets() {
    let run = run(&Plan { budget: Some(0.3), ..Plan::default() });
    let limit = run.limit(CostKind::Latency).unwrap();
    for kind in CostKind::ALL {
        let front = run.front(kind);
        assert!(!front.is_empty());
        assert!(front.iter().all(|episode| episode.cost.latency_s <= limit), "{kind}");
    }
    let uniform = run.uniform_of_same_cost().unwrap();
    assert!(uniform.episode.cost.latency_s <= limit);
    let better = run
        .references()
        .into_iter()
        .filter(|reference| run.quality(reference.episode) > run.quality(uniform.episode));
    assert!(better.into_iter().all(|reference| reference.episode.cost.latency_s > limit));
}

#[test]
fn the_front_is_right_beside_costs_that_are_no_numbers() {
    let mut run = run(&Plan { budget: None, ..Plan::default() });
    let clean: Vec<u32> = run.front(CostKind::Energy).iter().map(|e| e.index).collect();
    let beaten = run.episodes.iter_mut().filter(|e| !clean.contains(&e.index)).take(5);
    for (episode, energy) in beaten.zip([f64::NAN, f64::INFINITY, f64::NEG_INFINITY].repeat(2)) {
        episode.cost.energy_j = energy;
    }
    let front: Vec<u32> = run.front(CostKind::Energy).iter().map(|e| e.index).collect();
    assert_eq!(front, clean);
}

#[test]
fn uniform_policies_are_known_by_their_free_layers() {
    let run = run(&Plan { episodes: 5, ..Plan::default() });
    let bits: Vec<String> =
        run.references().iter().map(|reference| reference.bits.to_string()).collect();
    assert_eq!(bits, ["8/8", "7/7", "6/6", "5/5", "4/4", "3/3", "2/2"]);
    let mixed = run.episodes.iter().find(|e| e.kind != EpisodeKind::Reference).unwrap();
    assert_eq!(run.uniform_bits(&mixed.policy), None);
    assert_eq!(run.eight_bit().map(|reference| reference.bits), Some(LayerBits::EIGHT));
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(24))]
    #[test]
    fn any_figures_in_a_run_can_be_drawn(
        figures in proptest::collection::vec(
            (proptest::num::f64::ANY, proptest::num::f64::ANY, proptest::num::f64::ANY),
            0..12,
        ),
        float in proptest::num::f64::ANY,
        limit in proptest::num::f64::ANY,
    ) {
        let mut run = run(&Plan { episodes: 5, ..Plan::default() });
        run.description.float_quality.top1 = Some(float);
        run.description.budgets[0].limit = limit;
        for (episode, (quality, latency, energy)) in run.episodes.iter_mut().zip(figures) {
            episode.quality.top1 = Some(quality);
            episode.cost.latency_s = latency;
            episode.cost.energy_j = energy;
        }
        for (name, svg) in svgs(&run) {
            assert_well_formed(&name, &svg);
        }
    }
}
