//! The `thousandfold` program.

fn main() -> std::process::ExitCode {
    thousandfold::cli::main()
}
