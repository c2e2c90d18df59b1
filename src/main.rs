//! The `thousandfold` program.

fn main() -> std::process::ExitCode {
    // Mesa's device chooser asks for a desktop session, and complains on standard error where there is none. Adapters are
    // chosen by `--device` here, so it is told to stay out; what the user says to it holds.
    let is_set = |name: &str| std::env::var_os(name).is_some();
    if cfg!(target_os = "linux") && !["DISPLAY", "WAYLAND_DISPLAY", "NODEVICE_SELECT"].into_iter().any(is_set) {
        // SAFETY: nothing else runs yet that could read the environment at the same time.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
    thousandfold::cli::main()
}
