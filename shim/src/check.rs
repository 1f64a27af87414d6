//! What needs no agent: the environment and the configuration, checked as CNI's SPEC.md has them.

use crate::json::{Text, Value};
use std::collections::BTreeMap;

pub const NEWEST: &str = "1.1.0";
pub const SUPPORTED: [&str; 4] = ["0.3.1", "0.4.0", "1.0.0", NEWEST];
pub const PARAMETERS: [&str; 7] = [
    "CNI_COMMAND",
    "CNI_CONTAINERID",
    "CNI_NETNS",
    "CNI_IFNAME",
    "CNI_ARGS",
    "CNI_PATH",
    "CNI_NETNS_OVERRIDE",
];
const ATTACHMENTS: &str = "cni.dev/valid-attachments";
/// Bytes that fit into sun_path beside its final zero (unix(7)).
const LONGEST_SOCKET: usize = 107;

const REINSTALL: &str =
    "run `python -m steppe.agent.cni.install`, which writes a whole configuration";
const RUNTIME: &str = "the container runtime must send it as the CNI specification has it";

/// An error for the runtime: one of CNI's codes, what is wrong, and the cure.
pub struct CniError {
    pub code: i64,
    pub msg: String,
    pub details: String,
}

pub type Checked<T> = Result<T, CniError>;

pub fn error<T>(code: i64, msg: String, details: &str) -> Checked<T> {
    Err(CniError { code, msg, details: details.to_string() })
}

/// CNI's parameters, by name.
pub struct Environment(BTreeMap<&'static str, String>);

impl Environment {
    /// Error 4 for a parameter that is no text.
    pub fn read() -> Checked<Environment> {
        let mut known = BTreeMap::new();
        for name in PARAMETERS {
            if let Some(value) = std::env::var_os(name) {
                match value.into_string() {
                    Ok(text) => known.insert(name, text),
                    Err(_) => return error(4, format!("{} is not UTF-8", name), ""),
                };
            }
        }
        Ok(Environment(known))
    }

    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |text| text)
    }

    pub fn entries(&self) -> impl Iterator<Item = (&&'static str, &String)> {
        self.0.iter()
    }

    /// namespace/name of the pod; None if the runtime does not send it.
    pub fn pod(&self) -> Option<String> {
        let argument = |name: &str| {
            let pairs = self.get("CNI_ARGS").split(';').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.to_string()).last()
        };
        let name = argument("K8S_POD_NAME").filter(|name| !name.is_empty())?;
        Some(format!("{}/{}", argument("K8S_POD_NAMESPACE").unwrap_or_default(), name))
    }

    /// Error 4 names every parameter that is missing or wrong.
    pub fn check(&self) -> Checked<&str> {
        let command = self.get("CNI_COMMAND");
        let needed = match required(command) {
            Some(names) => names,
            None => {
                let cure = "it must be one of ADD, CHECK, DEL, GC, STATUS, VERSION; a container \
                            runtime sets it";
                return error(4, format!("CNI_COMMAND is {}", shown(command)), cure);
            }
        };
        let missing: Vec<_> =
            needed.iter().copied().filter(|name| self.get(name).is_empty()).collect();
        if !missing.is_empty() {
            let cure =
                "the container runtime must set what is named here in the plugin's environment";
            return error(4, format!("{} needs {}", command, missing.join(", ")), cure);
        }
        let faults = if matches!(command, "ADD" | "DEL" | "CHECK") { self.faults() } else { vec![] };
        if faults.is_empty() {
            Ok(command)
        } else {
            error(4, faults.join("; "), "")
        }
    }

    fn faults(&self) -> Vec<String> {
        let rules: [(&str, fn(&str) -> bool, &str); 3] = [
            (
                "CNI_CONTAINERID",
                is_name,
                "must start with a letter or digit, and hold only those, \"_\", \".\" and \"-\"",
            ),
            (
                "CNI_IFNAME",
                is_interface,
                "must have 1 to 15 characters, without \"/\", \":\" and blanks, and not be \".\" or \
                 \"..\"",
            ),
            ("CNI_ARGS", is_args, "must have the form KEY=VALUE;KEY=VALUE"),
        ];
        let wrong = |name: &str, fits: fn(&str) -> bool| {
            let value = self.get(name);
            !value.is_empty() && !fits(value)
        };
        let faults = rules.iter().filter(|(name, fits, _)| wrong(name, *fits));
        faults.map(|(name, _, rule)| format!("{} {} {}", name, shown(self.get(name)), rule)).collect()
    }
}

/// The parameters of a command, as SPEC.md names them.
fn required(command: &str) -> Option<&'static [&'static str]> {
    match command {
        "ADD" | "CHECK" => Some(&["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"]),
        "DEL" => Some(&["CNI_CONTAINERID", "CNI_IFNAME"]),
        "GC" => Some(&["CNI_PATH"]),
        "STATUS" | "VERSION" => Some(&[]),
        _ => None,
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

fn is_interface(text: &str) -> bool {
    text.len() <= 15
        && text != "."
        && text != ".."
        && !text.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control())
}

fn is_args(text: &str) -> bool {
    let mut pairs = text.split(';').filter(|pair| !pair.is_empty());
    pairs.all(|pair| pair.char_indices().any(|(at, c)| at > 0 && c == '='))
}

/// The request's version, if it is one that we know.
pub fn known_version(config: &Value) -> Option<&'static str> {
    match config.get("cniVersion") {
        Some(Value::Text(text)) => SUPPORTED.iter().copied().find(|known| *known == text.value),
        _ => None,
    }
}

/// Error 1 for a version that is not supported, or that does not have the command.
pub fn check_version(config: &Value, raw: &str, command: &str) -> Checked<()> {
    let version = match known_version(config) {
        Some(version) => version,
        None => {
            let asked = match config.member("cniVersion") {
                Some(member) if !is_empty(&member.value) => &raw[member.span.clone()],
                // An absent cniVersion counts as 0.1.0 in the reference library.
                _ => "0.1.0",
            };
            let cure = format!("give one of {} in the network configuration", SUPPORTED.join(", "));
            let asked = shorter(asked);
            return error(1, format!("cniVersion {} is not supported", asked), &cure);
        }
    };
    let since = match command {
        "CHECK" => "0.4.0",
        "GC" | "STATUS" => "1.1.0",
        _ => "0.3.1",
    };
    // Each of them sorts as its text does.
    if version < since {
        let said = format!("{} came with cniVersion {}, and this is {}", command, since, version);
        return error(1, said, "");
    }
    Ok(())
}

/// Error 7 or 2 for a configuration that is not supported; the path of the agent's socket.
pub fn check_config<'a>(config: &'a Value, raw: &str, command: &str) -> Checked<&'a str> {
    let name = text_of(config, "name")?;
    let kind = text_of(config, "type")?;
    let socket = text_of(config, "socket")?;
    if !is_name(&name.value) {
        let said = format!("network name {} is not allowed", shown(&name.value));
        return error(7, said, REINSTALL);
    }
    if kind.value.contains(|c| c == '/' || c == '\0') {
        return error(7, format!("plugin type {} is not allowed", shown(&kind.value)), REINSTALL);
    }
    let path = &socket.value;
    let is_path = path.starts_with('/') && !path.contains('\0') && path.len() <= LONGEST_SOCKET;
    if !(is_path && socket.valid) {
        let cure = format!("it must begin with \"/\" and have at most 107 bytes; {}", REINSTALL);
        return error(7, format!("socket {} is no path of a Unix socket", shown(path)), &cure);
    }
    match config.get("prevResult") {
        None if command == "CHECK" => {
            return error(7, "CHECK needs prevResult, the result of the ADD".to_string(), RUNTIME)
        }
        None | Some(Value::Object(_)) => {}
        Some(_) => return error(7, "prevResult is not an object".to_string(), RUNTIME),
    }
    // Only for ADD: a wrong configuration must not keep a pod from being detached.
    if let (true, Some(ipam)) = (matches!(command, "ADD" | "STATUS"), config.member("ipam")) {
        if !is_empty(&ipam.value) {
            let said = format!("ipam = {} is not supported", &raw[ipam.span.clone()]);
            let cure = "remove it: addresses come from the node's own prefixes (Node spec.podCIDRs)";
            return error(2, said, cure);
        }
    }
    if command == "GC" && !attachments_fit(config.get(ATTACHMENTS)) {
        let said = format!("{} is not a list of containerID and ifname", ATTACHMENTS);
        return error(7, said, RUNTIME);
    }
    Ok(path)
}

fn text_of<'a>(config: &'a Value, key: &str) -> Checked<&'a Text> {
    match config.get(key) {
        Some(Value::Text(text)) if !text.value.is_empty() => Ok(text),
        _ => error(7, format!("the configuration has no '{}'", key), REINSTALL),
    }
}

fn attachments_fit(listed: Option<&Value>) -> bool {
    let is_text = |entry: &Value, name| matches!(entry.get(name), Some(Value::Text(_)));
    match listed {
        None => true,
        Some(Value::List(entries)) => {
            entries.iter().all(|entry| is_text(entry, "containerID") && is_text(entry, "ifname"))
        }
        Some(_) => false,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Text(text) => text.value.is_empty(),
        Value::List(values) => values.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Whole(number) => *number == 0,
        Value::Other => false,
    }
}

/// A text in quotes, without what a terminal would obey.
fn shown(text: &str) -> String {
    format!("'{}'", shorter(text).escape_debug())
}

fn shorter(text: &str) -> &str {
    let end = text.char_indices().nth(200).map_or(text.len(), |(at, _)| at);
    &text[..end]
}
