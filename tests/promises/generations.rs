//! Searches by whole generations, from the study to the result: the best alone are kept, and a killed one goes on to the same.

use crate::gpu;
use crate::study::run;
use crate::support::{Folder, quiet, studies};
use thousandfold::backend::StopFlag;
use thousandfold::backend::gpu::GpuOptions;
use thousandfold::functions;
use thousandfold::space::Value;
use thousandfold::strategies::{STRATEGIES, StrategyEntry};
use thousandfold::study::result::RunResult;
use thousandfold::study::run_dir::Existing;
use thousandfold::study::{LoadedConfig, Start, StudyConfig, load_run, tune};

/// A study of a function with 40 members a generation, of which the seven best candidates are kept.
fn study(folder: &Folder, strategy: &str, more: &[&str]) -> LoadedConfig {
    let strategy = format!("search.strategy={strategy}");
    let own = ["run.history=best:7", "search.population=40"];
    let usual = ["objective.function=rastrigin", "objective.dimensions=10", "run.backend=cpu"];
    let is_said = |section: &str| more.iter().any(|set| set.starts_with(section));
    let usual = usual.iter().filter(|set| !is_said(set.split_once(['.', '=']).map_or("", |(section, _)| section)));
    let sets = own.iter().chain(usual).chain(more).map(|set| (*set).to_owned());
    let sets: Vec<String> = sets.chain([strategy, folder.run_set()]).collect();
    StudyConfig::of_sets("rastrigin", &sets).unwrap()
}

fn ended(strategy: &str, more: &[&str]) -> RunResult {
    let folder = Folder::new();
    run(study(&folder, strategy, more), Existing::Refuse)
}

/// Those that learn and search by whole generations.
fn methods() -> impl Iterator<Item = &'static str> {
    let learns = |entry: &&&'static dyn StrategyEntry| entry.is_adaptive() && entry.generations().is_some();
    STRATEGIES.iter().filter(learns).map(|entry| entry.name())
}

fn refusal(loaded: LoadedConfig, existing: Existing) -> String {
    tune(loaded, Start { existing, salvage: false }, &mut quiet(), &StopFlag::default()).unwrap_err().to_string()
}

#[test]
fn whole_generations_keep_the_best_with_their_exact_values() {
    assert!(methods().count() >= 4);
    let random = ended("random", &["search.candidates=8000"]).best.value;
    for strategy in methods() {
        let result = ended(strategy, &["search.candidates=8000"]);
        assert!(result.best.value < random, "{strategy}: {} against {random}", result.best.value);
        assert_eq!((result.top.len(), result.counts.proposed), (7, 8000), "{strategy}");
        let function = functions::find("rastrigin").unwrap().open(10, 1);
        for one in &result.top {
            let number = |value: &Value| if let Value::Float(number) = value { *number } else { f64::NAN };
            let point: Vec<f64> = one.params.values().map(number).collect();
            let mut value = [0.0];
            function.evaluate(&point, &mut value);
            assert_eq!(one.value, value[0], "{strategy}");
        }
        assert!(result.top.is_sorted_by(|a, b| a.value <= b.value), "{strategy}");
        assert!(result.decisions[0].contains("whole generations of 40"), "{:?}", result.decisions);
    }
}

#[test]
fn a_search_by_generations_goes_on_to_the_same_end() {
    for strategy in methods() {
        let folder = Folder::new();
        let whole = studies::comparable(&run(study(&folder, strategy, &["search.candidates=4000"]), Existing::Refuse));
        let table = std::fs::read_to_string(folder.path().join("run/best.csv")).unwrap();
        // As if it had been killed on the way: what was asked for then was less.
        let folder = Folder::new();
        run(study(&folder, strategy, &["search.candidates=1600"]), Existing::Refuse);
        let longer = study(&folder, strategy, &["search.candidates=4000"]);
        assert_eq!(studies::comparable(&run(longer, Existing::Resume)), whole, "{strategy}");
        assert_eq!(std::fs::read_to_string(folder.path().join("run/best.csv")).unwrap(), table, "{strategy}");
        let shorter = study(&folder, strategy, &["search.candidates=1600"]);
        let said = refusal(shorter, Existing::Resume);
        assert!(said.contains("cannot go back to 1600"), "{said}");
    }
}

#[test]
fn members_that_the_number_of_candidates_decided_stay_as_many() {
    let folder = Folder::new();
    let free = |candidates: &str| {
        let mut loaded = study(&folder, "cmaes", &[candidates]);
        loaded.config.search.population = None;
        loaded
    };
    let short = run(free("search.candidates=4000"), Existing::Refuse);
    let longer = run(free("search.candidates=40000"), Existing::Resume);
    assert_eq!(longer.counts.proposed, 40_000);
    assert!(longer.best.value < short.best.value);
}

#[test]
fn where_everything_fails_that_is_said() {
    // Of a hundred draws of such noise some are beyond every number.
    let sets =
        ["search.candidates=400", "objective.function=sphere", "objective.noise=1.7e308", "objective.repeats=100"];
    let said = refusal(study(&Folder::new(), "de", &sets), Existing::Refuse);
    assert!(said.contains("fail"), "{said}");
}

#[test]
fn a_target_ends_a_search_by_generations_at_the_same_generation() {
    let sets = ["search.candidates=100000", "stop.target=20"];
    let (once, again) = (ended("de", &sets), ended("de", &sets));
    assert_eq!(once.counts, again.counts);
    assert!(once.counts.proposed < 100_000 && once.best.value <= 20.0, "{:?}", once.counts);
}

#[test]
fn a_device_searches_as_the_processor_does_and_each_goes_on_from_the_others_state() {
    if gpu::open(GpuOptions::default()).is_none() {
        return;
    }
    let on_device = ["run.backend=gpu", "run.device=\"0\""];
    for strategy in methods() {
        // Few generations: what rounds otherwise grows with each.
        let host = ended(strategy, &["search.candidates=400"]).best.value;
        let device = ended(strategy, &[&["search.candidates=400"][..], &on_device].concat()).best.value;
        assert!((host - device).abs() <= 0.05 * host, "{strategy}: {host} and {device}");
        let folder = Folder::new();
        run(study(&folder, strategy, &[&["search.candidates=400"][..], &on_device].concat()), Existing::Refuse);
        let longer = run(study(&folder, strategy, &["search.candidates=8000"]), Existing::Resume);
        assert!(longer.best.value <= device && longer.counts.proposed == 8000, "{strategy}: {}", longer.best.value);
    }
    let random = ended("random", &[&["search.candidates=4000"][..], &on_device].concat());
    assert!(random.decisions[0].contains("whole generations"), "{:?}", random.decisions);
    let device = study(&Folder::new(), "sobol", &on_device);
    assert!(refusal(device, Existing::Refuse).contains("sobol draws on the processor alone"));
    let noisy = ["objective.function=sphere", "objective.noise=1"];
    let said = refusal(study(&Folder::new(), "pso", &[&noisy[..], &on_device].concat()), Existing::Refuse);
    assert!(said.contains("noise is drawn on the host"), "{said}");
    // A run that was there before stays.
    let folder = Folder::new();
    run(study(&folder, "pso", &["search.candidates=80"]), Existing::Refuse);
    refusal(study(&folder, "pso", &[&noisy[..], &on_device].concat()), Existing::Fresh);
    assert!(folder.path().join("run/result.json").exists());
    // Draws of the processor and generations of a device are two searches.
    let folder = Folder::new();
    run(study(&folder, "random", &[&["search.candidates=400"][..], &on_device].concat()), Existing::Refuse);
    let said = refusal(study(&folder, "random", &["search.candidates=800"]), Existing::Resume);
    assert!(said.contains("generations of a device"), "{said}");
}

#[test]
fn a_damaged_state_and_what_generations_cannot_search_are_said() {
    let folder = Folder::new();
    run(study(&folder, "pso", &["search.candidates=400"]), Existing::Refuse);
    let state = folder.path().join("run/generations.state");
    let mut bytes = std::fs::read(&state).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&state, bytes).unwrap();
    let again = load_run(&folder.path().join("run"), &["search.candidates=800".to_owned()]).unwrap();
    let said = refusal(again, Existing::Resume);
    assert!(said.contains("generations.state that is damaged") && said.contains("--fresh"), "{said}");
    for (sets, reason) in [
        (&["objective.function=model_choice"][..], "whole generations search no"),
        (&["stop.patience=10"], "stop.patience"),
        (&["search.mutation_rate=0.5"], "whole generations have fixed rates"),
        (&["space.x1=[1.0, 2.0]"], "whole generations search no choices, such as \"x1\""),
    ] {
        let said = refusal(study(&Folder::new(), "pso", sets), Existing::Refuse);
        assert!(said.contains(reason) && said.contains("history = \"all\""), "{said}");
    }
}
