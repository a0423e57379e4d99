//! What all of it ran on, for the report: figures of two machines do not compare.

use std::fs;

/// Processor, memory, kernel, and those of its settings that scripts/bench changes.
pub(crate) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (cpus, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let setting = |name: &str| {
        let value = read(&format!("/proc/sys/{name}"));
        value.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    format!(
        "{}, Linux {}, tcp_wmem {}, tcp_congestion_control {}",
        hardware(&cpus, &memory),
        setting("kernel/osrelease"),
        setting("net/ipv4/tcp_wmem"),
        setting("net/ipv4/tcp_congestion_control"),
    )
}

fn hardware(cpus: &str, memory: &str) -> String {
    let cores = cpus.lines().filter(|line| line.starts_with("processor"));
    let model = value(cpus, "model name").unwrap_or("an unknown processor");
    let kib: u64 = value(memory, "MemTotal")
        .and_then(|value| value.strip_suffix(" kB")?.parse().ok())
        .unwrap_or_default();
    format!("{} cores of {model}, {} MiB", cores.count(), kib / 1024)
}

fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_told_by_its_cores_and_memory() {
        let cpus = "processor\t: 0\nmodel name\t: Xeon\n\nprocessor\t: 1\nmodel name\t: Xeon\n";
        let told = hardware(cpus, "MemTotal:       2097152 kB\n");
        assert_eq!(told, "2 cores of Xeon, 2048 MiB");
        assert!(hardware("", "").contains("unknown"));
        assert!(machine().contains("Linux "));
    }
}
