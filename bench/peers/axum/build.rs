//! Tells the program which axum it was built with.

fn main() {
    let lock = std::fs::read_to_string("Cargo.lock").unwrap_or_default();
    let version = |name: &str| {
        let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
        rest.split('"').next().map(|version| format!("{version} "))
    };
    let axum = version("axum").unwrap_or_default();
    let tungstenite = version("tungstenite").unwrap_or_default();
    println!("cargo::rerun-if-changed=Cargo.lock");
    println!("cargo::rustc-env=AXUM={axum}with tungstenite {tungstenite}");
}
