//! Builds the page, and gathers the files the server hands out, the page's own and the official Socket.IO client's, into one table with their ETags.
//!
//! Vite builds the page from `page/`, with what the lock file there names, in a copy below `OUT_DIR`: the build writes nowhere else, and
//! installs again only when the lock file has changed. Without npm the server is built all the same; it then says in the browser what is
//! missing, see `src/assets.rs`.

use std::error::Error;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use sha2::{Digest, Sha256};

/// What the page is made of. Anything else in `page/` is not the build's business, a developer's `node_modules` above all.
const PAGE_SOURCES: [&str; 7] =
    ["package.json", "package-lock.json", ".npmrc", "vite.config.js", "index.html", "client", "view"];
/// The part of it that decides what is installed.
const LOCKED: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];

const CLIENT_FILES: [&str; 6] = [
    "socket.io.js",
    "socket.io.js.map",
    "socket.io.min.js",
    "socket.io.min.js.map",
    "socket.io.esm.min.js",
    "socket.io.esm.min.js.map",
];

const KEPT: &str = "public, max-age=31536000, immutable";
const REVALIDATED: &str = "no-cache";

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let page = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("page");
    println!("cargo::rerun-if-changed=build.rs");
    for source in PAGE_SOURCES {
        println!("cargo::rerun-if-changed=page/{source}");
    }

    let mut table = String::from("&[\n");
    if env::var_os("CARGO_FEATURE_CLIENT").is_some() {
        match build_page(&page, &out.join("page")) {
            Ok(built) => {
                for file in sorted_files(&built.page)? {
                    describe_page(&mut table, &built.page, &file)?;
                }
                for name in CLIENT_FILES {
                    let (path, file) = (format!("/socket.io/{name}"), built.client.join(name));
                    describe(&mut table, &path, &file, REVALIDATED, None)?;
                }
            }
            Err(reason) => {
                println!(
                    "cargo::warning=chat-server is built without its page and the official Socket.IO client: {reason}. Install Node.js 20.19 or newer with npm and build again."
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

/// Folders with files to hand out.
struct Built {
    page: PathBuf,
    client: PathBuf,
}

fn build_page(sources: &Path, workplace: &Path) -> Result<Built, String> {
    for name in PAGE_SOURCES {
        renew(&sources.join(name), &workplace.join(name))
            .map_err(|error| format!("page/{name} cannot be copied: {error}"))?;
    }
    install(workplace)?;
    npm(workplace, &["run", "build"])?;
    let built =
        Built { page: workplace.join("dist"), client: workplace.join("node_modules/socket.io-client/dist") };
    if !built.page.join("index.html").is_file() {
        return Err("the page was built, and is not there".to_owned());
    }
    match CLIENT_FILES.iter().find(|name| !built.client.join(name).is_file()) {
        Some(name) => Err(format!("the package socket.io-client has no dist/{name}")),
        None => Ok(built),
    }
}

/// Installs what the lock file names, unless that is what is there.
fn install(workplace: &Path) -> Result<(), String> {
    let mut wanted = String::new();
    for name in LOCKED {
        wanted += &fs::read_to_string(workplace.join(name)).map_err(|error| format!("{name}: {error}"))?;
    }
    let installed = workplace.join("installed");
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let cache = workplace.join("cache");
    let cache = cache.to_str().ok_or("the path of the output folder is not Unicode")?;
    // A machine without network must not hold up the build for minutes.
    let patience = ["--fetch-retries=1", "--fetch-timeout=30000"];
    let options = ["--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev", "--cache", cache];
    npm(workplace, &[&["ci"], &options[..], &patience[..]].concat())?;
    // Last, so that a build that was cut short installs again.
    fs::write(installed, wanted).map_err(|error| format!("the installation cannot be noted: {error}"))
}

fn npm(workplace: &Path, arguments: &[&str]) -> Result<(), String> {
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let done = Command::new(npm)
        .args(arguments)
        .arg("--no-update-notifier")
        .current_dir(workplace)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("npm cannot be started ({error})"))?;
    if done.status.success() {
        return Ok(());
    }
    let said = [done.stderr, done.stdout].concat();
    let said = String::from_utf8_lossy(&said);
    let why = said.lines().find(|line| line.to_lowercase().contains("err")).unwrap_or("it said nothing");
    Err(format!("npm {} failed ({why})", arguments[0]))
}

/// Makes `copy` what `source` is, without anything that is not there any more.
fn renew(source: &Path, copy: &Path) -> io::Result<()> {
    if source.is_dir() {
        if copy.exists() {
            fs::remove_dir_all(copy)?;
        }
        for entry in fs::read_dir(source)? {
            let name = entry?.file_name();
            renew(&source.join(&name), &copy.join(&name))?;
        }
        return Ok(());
    }
    if let Some(folder) = copy.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(source, copy).map(drop)
}

/// Adds a file of the page to the table, with its compressed twin if it has one.
fn describe_page(table: &mut String, folder: &Path, file: &Path) -> Result<(), Box<dyn Error>> {
    if file.extension() == Some(OsStr::new("gz")) {
        return Ok(());
    }
    let name = file.strip_prefix(folder)?.components().map(|part| part.as_os_str().to_string_lossy());
    let path = match name.collect::<Vec<_>>().join("/").as_str() {
        "index.html" => "/".to_owned(),
        name => format!("/{name}"),
    };
    // Vite names these by what is in them.
    let caching = if path.starts_with("/assets/") { KEPT } else { REVALIDATED };
    let mut twin = file.as_os_str().to_owned();
    twin.push(".gz");
    let twin = PathBuf::from(twin);
    describe(table, &path, file, caching, twin.is_file().then_some(twin.as_path()))
}

/// Adds one entry of `src/assets.rs`'s table.
fn describe(
    table: &mut String,
    path: &str,
    file: &Path,
    caching: &str,
    gzip: Option<&Path>,
) -> Result<(), Box<dyn Error>> {
    let content_type = match file.extension().and_then(OsStr::to_str) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("map") => "application/json",
        _ => return Err(format!("no content type is known for {}", file.display()).into()),
    };
    let plain = body(file)?;
    let gzip = gzip.map(body).transpose()?.map_or("None".to_owned(), |body| format!("Some({body})"));
    writeln!(
        table,
        "    Asset {{ path: {path:?}, content_type: {content_type:?}, caching: {caching:?}, plain: {plain}, gzip: {gzip} }},"
    )?;
    Ok(())
}

fn body(file: &Path) -> Result<String, Box<dyn Error>> {
    let digest = Sha256::digest(fs::read(file)?);
    let etag = digest.iter().take(16).fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a String does not fail");
        hex
    });
    let file = file.to_str().ok_or("the path of a file to embed is not Unicode")?;
    Ok(format!("Body {{ etag: \"\\\"{etag}\\\"\", bytes: include_bytes!({file:?}) }}"))
}

/// All files below `folder`.
fn sorted_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(sorted_files(&path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
