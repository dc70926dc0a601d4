//! Gathers the files the server hands out, the page's own and the official Socket.IO client's, into one table with their ETags.
//!
//! The client comes from npm by the lock file in `client/`, installed in a copy below `OUT_DIR`: the build writes nowhere else. Without npm
//! the server is built all the same; it then says in the browser what is missing, see `src/assets.rs`.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use sha2::{Digest, Sha256};

const CLIENT_FILES: [&str; 6] = [
    "socket.io.js",
    "socket.io.js.map",
    "socket.io.min.js",
    "socket.io.min.js.map",
    "socket.io.esm.min.js",
    "socket.io.esm.min.js.map",
];

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let source = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    for watched in ["build.rs", "page", "client"] {
        println!("cargo::rerun-if-changed={watched}");
    }

    let mut table = String::from("&[\n");
    for file in sorted_files(&source.join("page"))? {
        let name = file
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or("a file name of the page is not Unicode")?;
        let url = if name == "index.html" { "/".to_owned() } else { format!("/{name}") };
        describe(&mut table, &url, &file)?;
    }
    if env::var_os("CARGO_FEATURE_CLIENT").is_some() {
        match install_client(&source.join("client"), &out.join("client")) {
            Ok(dist) => {
                for name in CLIENT_FILES {
                    describe(&mut table, &format!("/socket.io/{name}"), &dist.join(name))?;
                }
            }
            Err(reason) => {
                println!(
                    "cargo::warning=chat-server is built without the official Socket.IO client, so its page will not work: {reason}. Install Node.js with npm and build again."
                );
                // A path that is never there: the next build tries again.
                println!("cargo::rerun-if-changed={}", out.join("never").display());
            }
        }
    }
    table.push(']');
    fs::write(out.join("assets.rs"), table)?;
    Ok(())
}

/// Installs the client in `workplace` and returns the folder with its files.
fn install_client(lock: &Path, workplace: &Path) -> Result<PathBuf, String> {
    fs::create_dir_all(workplace)
        .map_err(|error| format!("{} cannot be made: {error}", workplace.display()))?;
    for name in ["package.json", "package-lock.json", ".npmrc"] {
        fs::copy(lock.join(name), workplace.join(name))
            .map_err(|error| format!("client/{name} cannot be copied: {error}"))?;
    }
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let done = Command::new(npm)
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--omit=dev"])
        // A machine without network must not hold up the build for minutes.
        .args(["--fetch-retries=1", "--fetch-timeout=30000"])
        .arg("--cache")
        .arg(workplace.join("cache"))
        .current_dir(workplace)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("npm cannot be started ({error})"))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        let why = said
            .lines()
            .find(|line| line.contains("error") || line.contains("ERR"))
            .unwrap_or("it said nothing");
        return Err(format!("npm ci failed ({why})"));
    }
    let dist = workplace.join("node_modules/socket.io-client/dist");
    match CLIENT_FILES.iter().find(|name| !dist.join(name).is_file()) {
        Some(name) => Err(format!("the package has no dist/{name}")),
        None => Ok(dist),
    }
}

/// Adds one entry of `src/assets.rs`'s table.
fn describe(table: &mut String, url: &str, file: &Path) -> Result<(), Box<dyn Error>> {
    let content_type = match file.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("map") => "application/json",
        _ => return Err(format!("no content type is known for {}", file.display()).into()),
    };
    let digest = Sha256::digest(fs::read(file)?);
    let etag = digest.iter().take(16).fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a String does not fail");
        hex
    });
    let file = file.to_str().ok_or("the path of a file to embed is not Unicode")?;
    writeln!(
        table,
        "    Asset {{ path: {url:?}, content_type: {content_type:?}, etag: \"\\\"{etag}\\\"\", body: include_bytes!({file:?}) }},"
    )?;
    Ok(())
}

fn sorted_files(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()?;
    files.sort();
    Ok(files)
}
