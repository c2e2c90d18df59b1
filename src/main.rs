//! The `thousandfold` program.

fn main() -> std::process::ExitCode {
    // Mesa's device chooser asks for a desktop session, and complains on standard error where there is none. Adapters are
    // chosen by `--device` here.
    // SAFETY: nothing else runs yet that could read the environment at the same time.
    unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    thousandfold::cli::main()
}
