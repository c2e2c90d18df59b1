//! Trainings in steps: the same bits in however many legs, under every scheduler, and however often the run was stopped.

use super::*;

/// Nine chaotic steps, so that a step too many or too few, or a draw from elsewhere, changes every digit.
pub(super) struct Chaos {
    begun: AtomicU64,
    steps: AtomicU64,
    bytes: u64,
    repeats: u32,
}

impl Chaos {
    fn new(bytes: u64, repeats: u32) -> Arc<Chaos> {
        Arc::new(Chaos { begun: AtomicU64::new(0), steps: AtomicU64::new(0), bytes, repeats })
    }

    pub(super) fn first(x: f64, seed: u64) -> f64 {
        0.2 + 0.1 * x + 0.1 * uniform_f64(Key::from_seed(seed).words(7))
    }

    pub(super) fn next(state: f64) -> f64 {
        3.9 * state * (1.0 - state)
    }
}

struct Orbit<'a> {
    chaos: &'a Chaos,
    state: f64,
}

impl CustomObjective for Chaos {
    fn budget(&self) -> u64 {
        9
    }
    fn repeats(&self) -> u32 {
        self.repeats
    }
    fn begin<'a>(&'a self, candidate: &Candidate) -> Result<Box<dyn Training + 'a>, Failure> {
        assert_eq!(candidate.budget(), 9, "whatever the rung");
        self.begun.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Orbit { chaos: self, state: Chaos::first(candidate.get("x")?, candidate.seed()) }))
    }
}

impl Training for Orbit<'_> {
    fn step(&mut self) -> Result<(), Failure> {
        self.chaos.steps.fetch_add(1, Ordering::Relaxed);
        self.state = Chaos::next(self.state);
        Ok(())
    }
    fn score(&self) -> Result<Vec<f64>, Failure> {
        Ok(vec![self.state])
    }
    fn bytes(&self) -> u64 {
        self.chaos.bytes
    }
}

/// What every scheduler of the registry needs.
fn scheduled(folder: &Folder, scheduler: &str, objective: impl CustomObjective + 'static) -> LoadedConfig {
    with(study(folder, &space(), objective), |config| {
        config.search.scheduler = scheduler.to_owned();
        config.search.batch = Some(9);
        config.search.threshold = Some(0.9);
        config.search.level = Some(0.3);
    })
}

#[test]
fn steps_in_legs_are_steps_in_one_go_under_every_scheduler() {
    let full = Chaos::new(0, 5);
    let whole = ended(scheduled(&Folder::new(), "full", full.clone()));
    assert_eq!((full.begun.load(Ordering::Relaxed), full.steps.load(Ordering::Relaxed)), (150, 150 * 9));
    let mut early = 0;
    // A population changes hyperparameters of models alone.
    for entry in SCHEDULERS.iter().filter(|entry| entry.ends_early() && !entry.explores()) {
        let chaos = Chaos::new(0, 5);
        let result = ended(scheduled(&Folder::new(), entry.name(), chaos.clone()));
        let counts = result.counts;
        assert_eq!((counts.complete + counts.pruned, counts.failed), (30, 0), "{}", entry.name());
        for chosen in &result.top {
            let same = whole.top.iter().find(|one| one.candidate == chosen.candidate);
            let bits = |one: &Chosen| one.folds.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert!(same.is_none_or(|same| bits(same) == bits(chosen)), "{}: {chosen:?}", entry.name());
            assert_eq!(chosen.used, [9; 5], "{}", entry.name());
        }
        let (begun, steps) = (chaos.begun.load(Ordering::Relaxed), chaos.steps.load(Ordering::Relaxed));
        assert!(begun <= 150, "{}: none began twice, and {begun} did", entry.name());
        assert!(steps < 150 * 9 || counts.pruned == 0, "{}: {steps}", entry.name());
        early += counts.pruned;
        // Of trainings that say how large they are some begin anew, and end the same.
        let large = Chaos::new(300 << 10, 5);
        let study = scheduled(&Folder::new(), entry.name(), large.clone());
        let result_of_few = ended(with(study, |config| config.run.memory = 1));
        assert_eq!(studies::comparable(&result_of_few), studies::comparable(&result), "{}", entry.name());
        let again = large.begun.load(Ordering::Relaxed) > begun;
        assert!(again || ["racing", "wilcoxon"].contains(&entry.name()), "{}", entry.name());
    }
    assert!(early > 100, "{early} were ended early");
}

#[test]
fn a_study_says_how_many_steps_and_repeats_there_are_where_it_wants_others() {
    let at_once = study(&Folder::new(), &space(), minimize(|_| Ok(0.0)));
    let error = refused(at_once.with_sets(&["objective.budget=27"]).unwrap());
    assert!(
        error.contains("--set objective.budget=27: objective.budget is 27, and the objective is evaluated"),
        "{error}"
    );
    struct Longer;
    struct Counted(u64, u64);
    impl CustomObjective for Longer {
        fn budget(&self) -> u64 {
            3
        }
        fn begin<'a>(&'a self, candidate: &Candidate) -> Result<Box<dyn Training + 'a>, Failure> {
            Ok(Box::new(Counted(0, candidate.budget())))
        }
    }
    impl Training for Counted {
        fn step(&mut self) -> Result<(), Failure> {
            self.0 += 1;
            Ok(())
        }
        fn score(&self) -> Result<Vec<f64>, Failure> {
            Ok(vec![(self.0 * 100 + self.1) as f64])
        }
    }
    let longer = study(&Folder::new(), &space(), Longer);
    let longer = ended(longer.with_sets(&["objective.budget=7", "objective.repeats=2"]).unwrap());
    assert_eq!((longer.best.value, longer.best.used), (707.0, vec![7, 7]));
}

#[test]
fn a_run_that_is_stopped_goes_on_to_the_same_bits() {
    struct StopAfter(StopFlag, u64);
    impl Observer for StopAfter {
        fn notify(&mut self, event: &Event<'_>) -> std::io::Result<()> {
            if let Event::Lane(progress) = event
                && progress.lanes >= self.1
            {
                self.0.raise();
            }
            Ok(())
        }
    }
    for scheduler in ["full", "hyperband", "racing"] {
        let of = |folder: &Folder| {
            with(scheduled(folder, scheduler, Chaos::new(0, 5)), |config| {
                config.search.strategy = "tpe".into();
            })
        };
        let whole = studies::comparable(&ended(of(&Folder::new())));
        for lanes in [3, 33, 60] {
            let folder = Folder::new();
            let stop = StopFlag::default();
            let mut observers = quiet();
            observers.push(Box::new(StopAfter(stop.clone(), lanes)));
            let stopped = tune(of(&folder), Start::default(), &mut observers, &stop).unwrap();
            assert!(matches!(stopped, Ended::Interrupted { .. }), "{scheduler}, {lanes}");
            // As a program goes on that has the run's directory alone.
            let run_dir = folder.path().join("run");
            let resumed = run(load_run(&run_dir, &[]).unwrap().with_objective(Chaos::new(0, 5)), Existing::Resume);
            assert_eq!(studies::comparable(&resumed), whole, "{scheduler}, {lanes}");
        }
    }
}
