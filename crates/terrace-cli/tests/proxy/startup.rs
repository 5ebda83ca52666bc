//! Starting: what is printed, and what is refused.

use crate::harness::{Origin, Proxy, run_to_end, terrace};
use std::net::TcpListener;
use std::process::Command;

/// Runs `terrace proxy` with arguments it must refuse.
fn refused(command: &mut Command, code: i32, words: &[&str]) {
    let (status, text) = run_to_end(command);
    assert_eq!(status, Some(code), "{command:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{command:?} does not say {word:?}: {text}");
    }
}

fn proxy(flags: &[&str]) -> Command {
    let mut command = terrace();
    command.args(["proxy", "--origin", "http://127.0.0.1:9", "--listen", "127.0.0.1:0"]);
    command.args(["--admin", "off"]).args(flags);
    command
}

#[test]
fn mistakes_name_the_flag_the_value_and_what_is_accepted() {
    refused(terrace().arg("proxy"), 2, &["--origin <URL>"]);
    for origin in ["localhost:3000", "ftp://h", "http://u@h", "http://h?q", "https://h"] {
        if origin == "https://h" && cfg!(feature = "tls") {
            continue;
        }
        let mut command = terrace();
        command.args(["proxy", "--origin", origin]);
        refused(&mut command, 2, &["--origin <URL>", origin, "expected http://HOST[:PORT][/PREFIX]"]);
    }
    for (flag, value, accepted) in [
        ("--rules", "loose", "possible values: safe, rfc9111"),
        ("--listen", "8080", "expected HOST:PORT"),
        ("--admin", "on", "or off"),
        ("--access-log", "xml", "possible values: off, text, json"),
        ("--purge-allow", "localhost", "expected such as 10.0.0.7, 10.0.0.0/8 or none"),
        ("--trust-forwarded", "10.0.0.0/40", "10.0.0.0/8 or none"),
        ("--first-byte-timeout", "60", "such as 500ms, 30s or 2m"),
        ("--idle-timeout", "0s", "above zero"),
        ("--max-header-size", "1KiB", "expected 8KiB to 16MiB"),
        ("--max-request-body", "lots", "KiB"),
        ("--max-connections", "0", "1..=1000000"),
    ] {
        let mut command = terrace();
        command.args(["proxy", "--origin", "http://127.0.0.1:9", flag, value]);
        refused(&mut command, 2, &[flag, value, accepted]);
    }
    refused(proxy(&[]).env("CACHE_ENABLED", "perhaps"), 2, &["CACHE_ENABLED", "perhaps"]);
    refused(proxy(&[]).env("CACHE_NO_SUCH_THING", "1"), 2, &["CACHE_NO_SUCH_THING"]);
    refused(proxy(&[]).env("LOG_LEVEL", "loud"), 2, &["LOG_LEVEL", "loud", "DEBUG, INFO, WARNING or ERROR"]);
}

#[test]
fn variables_stand_in_for_flags() {
    let mut command = terrace();
    command.arg("proxy").env("TERRACE_ORIGIN", "nonsense");
    refused(&mut command, 2, &["nonsense", "expected http://HOST"]);
}

#[test]
fn a_taken_address_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--listen", "--admin"] {
        let mut command = terrace();
        command.args(["proxy", "--origin", "http://127.0.0.1:9"]);
        match flag {
            "--listen" => command.args(["--admin", "off", "--listen", &address]),
            _ => command.args(["--listen", "127.0.0.1:0", "--admin", &address]),
        };
        refused(&mut command, 1, &[flag, &address, "in use"]);
    }
}

#[tokio::test]
async fn a_free_port_is_printed_and_served() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start(origin.address, &["--rules", "rfc9111"]);
    assert_ne!(proxy.address.port(), 0);
    assert_ne!(proxy.admin.port(), 0);
    assert_eq!(proxy.get("/").await.status, 200);
}
