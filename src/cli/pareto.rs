//! `haq pareto`.

use serde_json::json;

use crate::{
    cli::{
        args::{Global, ParetoArgs},
        exit::{Ending, UsageError},
        output,
        session::read_store,
    },
    domain::CostKind,
    report::{self, Figure as _, ParetoFigure, RunView},
    runner,
};

pub fn run(global: &Global, args: &ParetoArgs) -> anyhow::Result<Ending> {
    let store = read_store(global)?;
    let views = args
        .runs
        .iter()
        .map(|&run| runner::view(&store, run))
        .collect::<Result<Vec<RunView>, _>>()?;
    let kind = match &args.cost {
        Some(word) => word.parse().map_err(UsageError)?,
        None => views[0].description.objective,
    };
    let borrowed: Vec<&RunView> = views.iter().collect();
    ParetoFigure::new(&borrowed, kind)?.write(&args.out)?;
    if global.json {
        let fronts: Vec<_> = views.iter().map(|view| front_json(view, kind)).collect();
        let file = &args.out;
        output::print_json(
            &json!({"schema": output::SCHEMA, "cost": kind, "file": file, "runs": fronts}),
        )?;
    } else {
        for view in &views {
            output::print(&format!("run {}", view.id))?;
            output::print(&report::front_table(view, kind, output::look()))?;
        }
        output::note(global, format!("drawn in {}", args.out.display()));
    }
    Ok(Ending::Done)
}

fn front_json(view: &RunView, kind: CostKind) -> serde_json::Value {
    let measure = view.description.measure;
    let points: Vec<_> = view
        .front(kind)
        .iter()
        .map(|record| {
            json!({
                "episode": record.index,
                "quality_search": measure.of(&record.quality),
                "cost": record.cost.get(kind),
                "policy": record.policy,
            })
        })
        .collect();
    json!({"run": view.id, "front": points})
}
