//! How a study's best score falls with what training takes: `budgets STUDY.toml|- [KEY=VALUE ...]`, where `-` stands for a study of
//! sets alone. One line of JSON: after each batch of outcomes the units of budget that all lanes have had, and the best score of a
//! candidate that has had its whole budget; and the winner's standard error over the folds.

#[path = "shared/study.rs"]
mod shared;

use serde_json::json;
use std::cell::RefCell;
use std::error::Error;
use std::rc::Rc;
use thousandfold::backend::StopFlag;
use thousandfold::study::events::{Event, Observer, Observers};
use thousandfold::study::{Ended, Start, tune};

const USAGE: &str = "usage: budgets STUDY.toml|- [KEY=VALUE ...]";

/// Notes what was trained, and the best score then.
struct Curve(Rc<RefCell<Vec<(u64, f64)>>>);

impl Observer for Curve {
    fn notify(&mut self, event: &Event<'_>) -> std::io::Result<()> {
        if let Event::Trials { progress, .. } = event
            && let Some(best) = progress.best
        {
            self.0.borrow_mut().push((progress.trained, best.value));
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or(USAGE)?;
    let folder = tempfile::tempdir()?;
    let place = format!("run.dir={}", folder.path().join("run").display());
    let sets: Vec<String> = arguments.chain([place]).collect();
    let curve = Rc::new(RefCell::new(Vec::new()));
    let mut observers = Observers::default();
    observers.push(Box::new(Curve(curve.clone())));
    match tune(shared::loaded(&file, &sets)?, Start::default(), &mut observers, &StopFlag::default())? {
        Ended::Finished(result) => {
            let curve = curve.borrow();
            let told = json!({
                "direction": result.direction,
                "curve": *curve,
                "saved": result.saved,
                "std_error": result.best.std_error,
            });
            println!("{told}");
            Ok(())
        }
        Ended::Interrupted { .. } => Err("interrupted".into()),
    }
}
