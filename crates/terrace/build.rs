//! Tells the program which compiler built it, for `cache_build_info`.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=TERRACE_REVISION");
    let compiler = std::env::var_os("RUSTC").expect("cargo sets RUSTC");
    let answer = Command::new(compiler).arg("--version").output();
    let text = answer.map(|answer| String::from_utf8_lossy(&answer.stdout).into_owned()).unwrap_or_default();
    // "rustc 1.88.0 (6b00bc388 2025-06-23)"
    let version = text.split_whitespace().nth(1).unwrap_or("unknown");
    println!("cargo::rustc-env=TERRACE_RUSTC={version}");
}
