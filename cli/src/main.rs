//! The binary: arguments, one command, an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match wscctl::parse(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version come this way too; clap knows which stream and which code.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(wscctl::USAGE));
        }
    };
    match wscctl::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_silent() {
                eprintln!("wscctl: {failure}");
            }
            ExitCode::from(failure.exit_code())
        }
    }
}
