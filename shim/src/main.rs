//! The CNI plugin as one static program: checks what the runtime sent, and hands it to this node's
//! agent. For hosts without Python; it does what src/steppe/cni/plugin.py does, and the same tests
//! run against both (tests/cni).
//!
//!     runtime ── environment, stdin ──▶ plugin ── one JSON document ──▶ agent
//!             ◀── stdout, exit code ──        ◀── one JSON document ──

mod ask;
mod check;
mod json;

use check::{error, Checked, CniError, Environment, NEWEST, SUPPORTED};
use json::{quoted, Value};
use std::io::{Read, Write};

/// Bytes of a configuration.
const LIMIT: u64 = 1 << 20;
const UNEXPECTED: i64 = 199;

fn main() {
    std::panic::set_hook(Box::new(|_| {})); // a runtime reads no traceback
    let (printed, mut code) = std::panic::catch_unwind(run).unwrap_or_else(|_| {
        let msg = "steppe's CNI plugin failed".to_string();
        let details = "a bug of steppe's: please report it, with the request".to_string();
        (told(NEWEST, &CniError { code: UNEXPECTED, msg, details }), 1)
    });
    if !printed.is_empty() {
        let mut out = std::io::stdout();
        let written = out.write_all(format!("{}\n", printed).as_bytes()).and_then(|_| out.flush());
        if written.is_err() && code == 0 {
            code = 1; // nobody reads: a closed pipe
        }
    }
    std::process::exit(code);
}

/// What to print, "" for nothing, and the exit code.
fn run() -> (String, i32) {
    let mut version = NEWEST;
    match answer(&mut version) {
        Ok(done) => done,
        Err(fault) => (told(version, &fault), 1),
    }
}

/// `version`: an error has the version of the request, once that is known.
fn answer(version: &mut &'static str) -> Checked<(String, i32)> {
    let env = Environment::read()?;
    let command = env.check()?;
    if command == "VERSION" {
        return Ok((versions(), 0));
    }
    let (raw, config) = configuration()?;
    if let Some(known) = check::known_version(&config) {
        *version = known;
    }
    check::check_version(&config, &raw, command)?;
    let socket = check::check_config(&config, &raw, command)?;
    let known: Vec<_> =
        env.entries().map(|(name, value)| format!("{}:{}", quoted(name), quoted(value))).collect();
    // The configuration is passed on unchanged, with members that we do not know.
    let document = format!(
        "{{\"schema\":\"steppe.cni-request/v1\",\"env\":{{{}}},\"config\":{}}}",
        known.join(","),
        raw
    );
    ask::ask(socket, &document, command, env.pod())
}

/// Standard input as text and as an object.
fn configuration() -> Checked<(String, Value)> {
    let mut data = Vec::new();
    // Up to one byte over the limit: more need not be read.
    if let Err(fault) = std::io::stdin().take(LIMIT + 1).read_to_end(&mut data) {
        return error(5, format!("cannot read the configuration: {}", fault), "");
    }
    if data.len() as u64 > LIMIT {
        return error(5, format!("the configuration is larger than {} bytes", LIMIT), "");
    }
    let raw = match String::from_utf8(data) {
        Ok(raw) => raw,
        Err(fault) => return error(6, format!("the configuration is not JSON: {}", fault), ""),
    };
    match json::parse(&raw) {
        Ok(config @ Value::Object(_)) => Ok((raw, config)),
        Ok(_) => error(6, "the configuration is JSON, but not an object".to_string(), ""),
        Err(fault) => error(6, format!("the configuration is not JSON: {}", fault), ""),
    }
}

/// The answer to VERSION, in the version asked for; empty or invalid input is no error here.
fn versions() -> String {
    let config = configuration().ok().map(|(_, config)| config);
    let asked = match config.as_ref().and_then(|config| config.get("cniVersion")) {
        Some(Value::Text(text)) if !text.value.is_empty() => &text.value,
        _ => NEWEST,
    };
    let listed: Vec<_> = SUPPORTED.iter().map(|version| quoted(version)).collect();
    format!("{{\"cniVersion\":{},\"supportedVersions\":[{}]}}", quoted(asked), listed.join(","))
}

fn told(version: &str, fault: &CniError) -> String {
    format!(
        "{{\"cniVersion\":{},\"code\":{},\"msg\":{},\"details\":{}}}",
        quoted(version),
        fault.code,
        quoted(&fault.msg),
        quoted(&fault.details)
    )
}
