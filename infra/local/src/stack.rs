use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sluice_bedrock::{Bedrock, Key, Keys};

use crate::bridge::Bridge;
use crate::deploy::{Deployer, Deployment, PACKAGE_BUCKET, architecture, package};
use crate::gateway::{AUDIENCE, Minter, serve_issuer, serve_proxy};
use crate::governor::{self, Frame, Governor};
use crate::ministack::{ACCOUNT, KEY_HEADER, Ministack, REGION};
use crate::progress::{Event, Progress};
use crate::receiver::Receiver;
use crate::server::{Answer, Servers, listen};
use crate::wait::{poll, wait_for};
use crate::{Error, binaries, files, place, sample, spend, venv};

/// The CloudFormation stack's name, and so the prefix of every function's.
const STACK: &str = "sluice";
const SAMPLE_STACK: &str = "sluice-sample";

/// The functions that check a callback URL or a tenant's destinations, and the one that calls them.
const CALLBACK_FUNCTIONS: [&str; 5] =
    ["control-run", "create-run", "invoke-definition", "manage-definitions", "run-callback"];

/// What the governor's role may call here: whatever the stand-in has.
const EVERY_MODEL: &str = "arn:aws:bedrock:*::foundation-model/*,arn:aws:bedrock:*:*:inference-profile/*";

/// The file with the authority that vouches for the stand-in.
const BEDROCK_AUTHORITY: &str = "bedrock-ca.pem";

/// The state machine that drives new runs: what the template's `RunnerGeneration` says where nobody says otherwise.
const RUNNER: &str = "SecondRunner";

/// The functions that answer task tokens.
const ANSWERING_FUNCTIONS: [&str; 3] = ["advance-run", "control-run", "reconcile-runs"];

/// How a stack is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// State and logs of this stack; emptied at the start.
    pub folder: PathBuf,
    /// The API's port on 127.0.0.1; 0 lets the system choose.
    pub port: u16,
    /// The tenant of a caller that names none, and the only one that is the operator.
    pub tenant: String,
    /// Further origins (`http://host:port`) that may be called back, on this machine only.
    pub callback_origins: Vec<String>,
    /// Whether to wait for another stack with the same folder to end, or to fail at once.
    pub wait_for_folder: bool,
    /// Whether the functions are built among the whole workspace and with what its tests need, instead of by themselves.
    ///
    /// Cargo joins the features of all that is built together, development dependencies included. So the functions share
    /// everything that `cargo test` has built; any other choice of packages would build the AWS SDK once more, for minutes.
    pub build_with_tests: bool,
    /// Milliseconds before each frame that the stand-in for Bedrock sends in a stream.
    pub bedrock_pause_ms: u64,
}

impl Options {
    /// As `cargo dev` starts it.
    pub fn dev() -> Self {
        Self {
            folder: place::target().join("dev"),
            port: 8787,
            tenant: "dev".to_owned(),
            callback_origins: Vec::new(),
            wait_for_folder: false,
            build_with_tests: false,
            bedrock_pause_ms: 20,
        }
    }

    /// For a test binary: ports chosen by the system, a folder of its own, so that it runs beside `cargo dev`.
    pub fn test(name: &str) -> Self {
        Self {
            folder: place::target().join("e2e").join(name),
            port: 0,
            wait_for_folder: true,
            build_with_tests: true,
            bedrock_pause_ms: 0,
            ..Self::dev()
        }
    }
}

/// AWS credentials, as the emulator knows them.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: Option<String>,
}

impl Credentials {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "accessKeyId": self.access_key_id,
            "secretAccessKey": self.secret_access_key,
            "sessionToken": self.session_token,
        })
    }
}

/// What `lambda:Invoke` answered.
#[derive(Debug, Clone)]
pub struct Invocation {
    pub payload: Value,
    /// `Handled` or `Unhandled` where the function failed.
    pub function_error: Option<String>,
}

/// A running, seeded stack. Everything it started ends when it is dropped, and also when its process ends in any other way.
pub struct Stack {
    /// The API behind the local proxy, which mints a token for the tenant in `x-dev-tenant`.
    pub api_url: String,
    /// The API as ministack serves it: without a token its authorizer answers 401.
    pub gateway_url: String,
    /// Function URLs by function (`create-run`, ...), in ministack's path form; calls to them must be signed.
    pub function_urls: BTreeMap<String, String>,
    pub aws_endpoint_url: String,
    pub region: &'static str,
    pub account: &'static str,
    /// The emulator's administrator, new for each start.
    pub credentials: Credentials,
    /// The header by which a request gets in to the emulator that nobody signed, new for each start.
    pub emulator_key: (&'static str, String),
    /// The default tenant, and the operator.
    pub tenant: String,
    pub table: String,
    pub runner_arn: String,
    /// The bucket of the sample's texts and reports.
    pub bucket: String,
    pub receiver: Receiver,
    /// Where processors find the governor: `https://localhost:PORT`.
    pub governor_url: String,
    /// The file with the authority that vouches for the governor's door, for `AWS_CA_BUNDLE` and its like.
    pub governor_authority: PathBuf,
    /// What the governor takes for Bedrock, with its books.
    pub bedrock: Bedrock,
    /// What was set on functions for this machine only, in words.
    pub local_settings: Vec<String>,
    /// State and logs.
    pub folder: PathBuf,
    /// Deployed names by function.
    functions: BTreeMap<String, String>,
    /// Executables by name.
    binaries: BTreeMap<String, PathBuf>,
    // Dropped in this order: first the governor's processes and the HTTP thread, then the bridge (the minter holds it too), then the
    // emulator.
    governor: Option<Governor>,
    servers: Servers,
    minter: Arc<Minter>,
    bridge: Arc<Bridge>,
    ministack: Ministack,
    _folder_lock: File,
}

impl Stack {
    /// Does everything from nothing to a running, seeded stack, and tells `observer` how it goes.
    pub fn start(options: &Options, observer: &mut dyn FnMut(Event<'_>)) -> Result<Self, Error> {
        let mut progress = Progress::new(observer);
        let folder = options.folder.as_path();
        let folder_lock = take_folder(options)?;
        // A busy port is said now, not after the build.
        let (api_listener, api_address) = listen(options.port)?;

        let venv = progress.phase("Python environment", |progress| venv::ready(folder, progress))?;
        let built = progress.phase("Build", |progress| binaries::build(folder, options.build_with_tests, progress))?;
        let servers = Servers::start()?;
        let ministack = progress.phase("Start ministack", |_| Ministack::start(&venv, folder, &servers))?;
        let bridge = Arc::new(Bridge::start(&venv, folder, &ministack.url, &ministack.credentials)?);
        bridge.ask_and_wait(json!({"op": "followLogs", "path": folder.join("functions.log")}))?;
        let issuer = serve_issuer(&servers, &bridge)?;
        let receiver = Receiver::start(&servers, Arc::clone(&bridge))?;
        let frame = Frame::set(folder)?;

        let (product, sample) = progress.phase("Package and deploy", |progress| {
            bridge.aws("s3", "create_bucket", &json!({"Bucket": PACKAGE_BUCKET}))?;
            let deployer = Deployer { bridge: &bridge, binaries: &built, folder: packages() };
            let infra = place::project().join("infra");
            let sample = deployer.deploy(
                SAMPLE_STACK,
                &infra.join("local/sample/template.yaml"),
                &[("Architecture", architecture())],
            )?;
            let product = deployer.deploy(
                STACK,
                &infra.join("template.yaml"),
                &[
                    ("Architecture", architecture()),
                    ("AuthorizerType", "JWT"),
                    ("JwtIssuer", &issuer),
                    ("JwtAudience", AUDIENCE),
                    // Whoever has this laptop is every tenant on it.
                    ("UnlistedTenants", "open"),
                    // The stand-in knows the models, and the governor those that are declared.
                    ("GovernedModelArns", EVERY_MODEL),
                    ("GovernorUrl", &frame.url),
                ],
            )?;
            progress.note(format!(
                "{} resources of infra/template.yaml as stack {STACK}, {} of the sample as {SAMPLE_STACK}",
                product.resources.len(),
                sample.resources.len()
            ));
            Ok::<_, Error>((product, sample))
        })?;

        let functions = deployed_functions(&product);
        let bedrock = stand_in(options, &functions, &bridge, &servers, &ministack)?;
        let minter = Arc::new(Minter::new(Arc::clone(&bridge), issuer, options.tenant.clone()));
        let gateway_url = format!("{}/_aws/execute-api/{}", ministack.url, one_of(&product, "AWS::ApiGatewayV2::Api")?);
        serve_proxy(&servers, api_listener, gateway_url.clone(), &ministack.key, Arc::clone(&minter))?;
        let mut stack = Self {
            api_url: format!("http://{api_address}"),
            gateway_url,
            function_urls: function_urls(&bridge, &functions, &ministack.url),
            aws_endpoint_url: ministack.url.clone(),
            region: REGION,
            account: ACCOUNT,
            credentials: ministack.credentials.clone(),
            emulator_key: (KEY_HEADER, ministack.key.clone()),
            tenant: options.tenant.clone(),
            table: one_of(&product, "AWS::DynamoDB::Table")?,
            runner_arn: named(&product, RUNNER)?,
            bucket: one_of(&sample, "AWS::S3::Bucket")?,
            receiver,
            governor_url: frame.url.clone(),
            governor_authority: frame.authority.clone(),
            bedrock,
            local_settings: Vec::new(),
            folder: folder.to_path_buf(),
            functions,
            binaries: built,
            governor: None,
            servers,
            minter,
            bridge,
            ministack,
            _folder_lock: folder_lock,
        };
        progress.phase("Local settings", |_| {
            stack.apply_local_settings(&options.callback_origins)?;
            stack.governor = Some(stack.governed(frame, &venv)?);
            Ok::<_, Error>(())
        })?;
        progress.phase("Seed", |_| {
            sample::seed(&stack, &sample)?;
            spend::seed(&stack, &sample)
        })?;
        files::write(&stack)?;
        Ok(stack)
    }

    /// Calls an AWS operation by its boto3 name (`"stepfunctions", "describe_execution"`), as the administrator. Bytes are
    /// `{"$base64": "..."}`, in both directions.
    pub fn aws(&self, service: &str, operation: &str, params: Value) -> Result<Value, Error> {
        self.bridge.aws(service, operation, &params)
    }

    /// Requests a path of the API through the proxy. A JSON body wants its `content-type` header.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Result<Answer, Error> {
        self.servers.request(method, &format!("{}{path}", self.api_url), headers, body.into())
    }

    /// Requests any URL, as it is; one of the emulator's is asked with the key that its guard wants.
    pub fn request_url(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Result<Answer, Error> {
        let mut headers = headers.to_vec();
        if url.strip_prefix(&self.aws_endpoint_url).is_some_and(|rest| rest.starts_with('/')) {
            headers.push((self.emulator_key.0, &self.emulator_key.1));
        }
        self.servers.request(method, url, &headers, body.into())
    }

    /// Requests a path of a function's own URL, signed by botocore as the administrator.
    pub fn request_function_url(
        &self,
        function: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Result<Answer, Error> {
        let body = body.into();
        let base = self.function_urls.get(function).map(String::as_str).unwrap_or_default();
        let url = format!("{}{path}", base.trim_end_matches('/'));
        let signed = self.sign(method, &url, headers, &body, None)?;
        let signed: Vec<(&str, &str)> = signed.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.servers.request(method, &url, &signed, body)
    }

    /// The headers, those given included, that make a request a signed one (service `lambda`).
    pub fn sign(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        credentials: Option<&Credentials>,
    ) -> Result<Vec<(String, String)>, Error> {
        let headers: BTreeMap<&str, &str> = headers.iter().copied().collect();
        let signed = self.bridge.ask_and_wait(json!({
            "op": "sign",
            "service": "lambda",
            "method": method,
            "url": url,
            "headers": headers,
            "body": {"$base64": STANDARD.encode(body)},
            "credentials": credentials.map(Credentials::to_json),
        }))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pairs = signed.as_array().into_iter().flatten();
        Ok(pairs.map(|pair| (text(&pair[0]), text(&pair[1]))).collect())
    }

    /// A token of the stack's own issuer with these claims in place of, or beside, those of `tenant`; a claim set to null is
    /// left out. For trying what the authorizer refuses.
    pub fn token(&self, tenant: &str, claims: &Value, lifetime: Duration) -> Result<String, Error> {
        let mut all = self.minter.claims(tenant);
        for (name, value) in claims.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        if let Some(all) = all.as_object_mut() {
            all.retain(|_, value| !value.is_null());
        }
        wait_for(self.minter.mint(all, lifetime)).map_err(|reason| Error::Http {
            method: "mint".to_owned(),
            url: self.api_url.clone(),
            reason,
        })
    }

    /// The deployed name of a function (`create-run`), or of a sample's processor (`sluice-processor-...`) as it is.
    pub fn function_name<'a>(&'a self, function: &'a str) -> &'a str {
        self.functions.get(function).map_or(function, String::as_str)
    }

    /// The functions of the template, by their short names.
    pub fn functions(&self) -> impl Iterator<Item = &str> {
        self.functions.keys().map(String::as_str)
    }

    /// A function's environment variables.
    pub fn environment(&self, function: &str) -> Result<BTreeMap<String, String>, Error> {
        let name = json!({"FunctionName": self.function_name(function)});
        let found = self.bridge.aws("lambda", "get_function_configuration", &name)?;
        let variables = found["Environment"]["Variables"].as_object().cloned().unwrap_or_default();
        Ok(variables.into_iter().map(|(name, value)| (name, value.as_str().unwrap_or_default().to_owned())).collect())
    }

    /// Changes some of a function's environment variables and leaves the others; `None` removes one.
    pub fn set_environment(&self, function: &str, changes: &[(&str, Option<&str>)]) -> Result<(), Error> {
        let mut variables = self.environment(function)?;
        for (name, value) in changes {
            match value {
                Some(value) => drop(variables.insert((*name).to_owned(), (*value).to_owned())),
                None => drop(variables.remove(*name)),
            }
        }
        let name = self.function_name(function);
        self.bridge.aws(
            "lambda",
            "update_function_configuration",
            &json!({"FunctionName": name, "Environment": {"Variables": variables}}),
        )?;
        poll(&format!("the new environment of {name}"), Duration::from_secs(10), Duration::from_millis(20), || {
            let found = self.bridge.aws("lambda", "get_function_configuration", &json!({"FunctionName": name}))?;
            Ok((found["LastUpdateStatus"] != "InProgress").then_some(()))
        })
    }

    /// Invokes a function with an event and waits for its answer.
    pub fn invoke(&self, function: &str, event: &Value) -> Result<Invocation, Error> {
        let params = json!({
            "FunctionName": self.function_name(function),
            "Payload": {"$base64": STANDARD.encode(event.to_string())},
        });
        let answer = self.bridge.aws("lambda", "invoke", &params)?;
        let payload =
            answer["Payload"]["$base64"].as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
        Ok(Invocation {
            payload: serde_json::from_slice(&payload).unwrap_or_default(),
            function_error: answer["FunctionError"].as_str().map(str::to_owned),
        })
    }

    /// The zip of a built executable, as a function with a runtime of its own takes it.
    pub fn package(&self, executable: &str) -> Result<PathBuf, Error> {
        package(&self.bridge, &self.binaries, &packages(), executable).map(|package| package.path)
    }

    /// An object's bytes.
    pub fn object(&self, bucket: &str, key: &str) -> Result<Vec<u8>, Error> {
        let object = self.bridge.aws("s3", "get_object", &json!({"Bucket": bucket, "Key": key}))?;
        Ok(object["Body"]["$base64"].as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default())
    }

    pub fn put_object(&self, bucket: &str, key: &str, content: &[u8]) -> Result<(), Error> {
        let params = json!({"Bucket": bucket, "Key": key, "Body": {"$base64": STANDARD.encode(content)}});
        self.bridge.aws("s3", "put_object", &params).map(drop)
    }

    /// Whether the emulator has gone away under the stack.
    pub fn has_ended(&self) -> bool {
        self.ministack.has_ended()
    }

    /// What the deployed template has no way to say. All of it is listed to whoever starts the stack.
    fn apply_local_settings(&mut self, callback_origins: &[String]) -> Result<(), Error> {
        let mut origins = vec![self.receiver.origin().to_owned()];
        origins.extend_from_slice(callback_origins);
        let origins = origins.join(",");
        let (stack, origins_text) = (&*self, origins.as_str());
        // Each update takes the emulator about half a second; they do not depend on each other.
        thread::scope(|scope| {
            let updates: Vec<_> = stack
                .functions
                .keys()
                .map(|function| {
                    let mut changes = Vec::new();
                    if stack.function_urls.contains_key(function) {
                        changes.push(("SLUICE_LOCAL_TENANT", Some(stack.tenant.as_str())));
                    }
                    if CALLBACK_FUNCTIONS.contains(&function.as_str()) {
                        changes.push(("SLUICE_EXTRA_CALLBACK_ORIGINS", Some(origins_text)));
                    }
                    scope.spawn(
                        move || {
                            if changes.is_empty() { Ok(()) } else { stack.set_environment(function, &changes) }
                        },
                    )
                })
                .collect();
            updates.into_iter().try_for_each(|update| {
                update
                    .join()
                    .unwrap_or_else(|_panic| Err(Error::Sample("setting a function's environment panicked".to_owned())))
            })
        })?;
        let with_url: Vec<&str> = self.function_urls.keys().map(String::as_str).collect();
        self.local_settings = vec![
            format!(
                "SLUICE_LOCAL_TENANT={} on {} (ministack's Function URLs pass on no identity)",
                self.tenant,
                with_url.join(", ")
            ),
            format!("SLUICE_EXTRA_CALLBACK_ORIGINS={origins} on {}", CALLBACK_FUNCTIONS.join(", ")),
            format!(
                "states:SendTaskSuccess and SendTaskFailure on every resource for {} (ministack does not know which state machine a token is of)",
                ANSWERING_FUNCTIONS.join(", ")
            ),
            format!(
                "SLUICE_BEDROCK_ENDPOINT={} and AWS_CA_BUNDLE on {} (the stand-in for Bedrock, and who vouches for it)",
                self.bedrock.door_url,
                governor::FUNCTION
            ),
        ];
        ANSWERING_FUNCTIONS.into_iter().try_for_each(|function| self.allow_task_answers(function))
    }

    /// The governor behind its door, with the stand-in as its Bedrock.
    fn governed(&self, frame: Frame, venv: &venv::Venv) -> Result<Governor, Error> {
        let authority = self.folder.join(BEDROCK_AUTHORITY).display().to_string();
        let changes = [
            ("SLUICE_BEDROCK_ENDPOINT", Some(self.bedrock.door_url.as_str())),
            ("AWS_CA_BUNDLE", Some(authority.as_str())),
        ];
        self.set_environment(governor::FUNCTION, &changes)?;
        let binary = self.binaries.get(governor::FUNCTION).cloned();
        let binary = binary.ok_or_else(|| Error::Sample(format!("no binary is called {}", governor::FUNCTION)))?;
        let name = self.function_name(governor::FUNCTION);
        let function = governor::Function::deployed(name, binary, &self.bridge, &self.servers, &self.ministack)?;
        Governor::start(frame, function, venv, &self.folder, &self.servers)
    }

    /// On AWS a task token is checked against the state machine that waits with it, which the template names; ministack
    /// asks for a right on `*`.
    fn allow_task_answers(&self, function: &str) -> Result<(), Error> {
        let name = json!({"FunctionName": self.function_name(function)});
        let found = self.bridge.aws("lambda", "get_function_configuration", &name)?;
        let role = found["Role"].as_str().and_then(|arn| arn.rsplit('/').next()).unwrap_or_default();
        let actions = ["states:SendTaskSuccess", "states:SendTaskFailure"];
        let policy = json!({
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}],
        });
        let params =
            json!({"RoleName": role, "PolicyName": "local-task-answers", "PolicyDocument": policy.to_string()});
        self.bridge.aws("iam", "put_role_policy", &params).map(drop)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        files::remove(&self.folder);
    }
}

/// Takes the folder for this stack alone, and empties it of the last one's logs and state.
fn take_folder(options: &Options) -> Result<File, Error> {
    let folder = options.folder.as_path();
    place::made(folder)?;
    let lock = venv::lock_file(&folder.join("lock"))?;
    if options.wait_for_folder {
        lock.lock().map_err(Error::io(format_args!("locking {}", folder.display())))?;
    } else {
        lock.try_lock().map_err(|_held| Error::FolderInUse { folder: folder.to_path_buf() })?;
    }
    for entry in fs::read_dir(folder).map_err(Error::io(format_args!("reading {}", folder.display())))?.flatten() {
        let path: PathBuf = entry.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            drop(fs::remove_file(&path));
        }
    }
    drop(fs::remove_dir_all(folder.join("tmp")));
    files::remove(folder);
    Ok(lock)
}

/// The stand-in for Bedrock, which nobody but the governor's role may call.
fn stand_in(
    options: &Options,
    functions: &BTreeMap<String, String>,
    bridge: &Bridge,
    servers: &Servers,
    ministack: &Ministack,
) -> Result<Bedrock, Error> {
    let name = functions.get(governor::FUNCTION).map(String::as_str).unwrap_or_default();
    let configuration = bridge.aws("lambda", "get_function_configuration", &json!({"FunctionName": name}))?;
    let credentials: BTreeMap<String, String> =
        governor::credentials(&configuration, servers, ministack)?.into_iter().collect();
    let text = |name: &str| credentials.get(name).cloned().unwrap_or_default();
    let key = Key {
        access_key_id: text("AWS_ACCESS_KEY_ID"),
        secret_access_key: text("AWS_SECRET_ACCESS_KEY"),
        session_token: Some(text("AWS_SESSION_TOKEN")),
    };
    let started = Bedrock::start(sluice_bedrock::Options {
        port: 0,
        plain_port: None,
        control_port: 0,
        keys: Keys { keys: vec![key], bearer_tokens: Vec::new(), region: REGION.to_owned() },
        prices: None,
        authority_path: Some(options.folder.join(BEDROCK_AUTHORITY)),
        pause_ms: options.bedrock_pause_ms,
    });
    started.map_err(|error| Error::Sample(format!("the stand-in for Bedrock: {error}")))
}

/// Where the zips of functions are made.
fn packages() -> PathBuf {
    place::target().join("packages")
}

/// The template's functions: `sluice-create-run` is `create-run`.
fn deployed_functions(product: &Deployment) -> BTreeMap<String, String> {
    product
        .of_kind("AWS::Lambda::Function")
        .map(|function| {
            let name = function.physical_id.as_str();
            let short = name.strip_prefix(STACK).and_then(|rest| rest.strip_prefix('-')).unwrap_or(name);
            (short.to_owned(), name.to_owned())
        })
        .collect()
}

fn function_urls(bridge: &Bridge, functions: &BTreeMap<String, String>, endpoint: &str) -> BTreeMap<String, String> {
    let mut urls = BTreeMap::new();
    for (short, name) in functions {
        // Functions without a URL answer ResourceNotFoundException.
        let Ok(found) = bridge.aws("lambda", "get_function_url_config", &json!({"FunctionName": name})) else {
            continue;
        };
        // The governor's is open, and has a door of its own here.
        if found["AuthType"] != "AWS_IAM" {
            continue;
        }
        let host = found["FunctionUrl"].as_str().and_then(|url| url.strip_prefix("https://")).unwrap_or_default();
        if let Some((id, _)) = host.split_once('.') {
            urls.insert(short.clone(), format!("{endpoint}/_aws/lambda-url/{id}/"));
        }
    }
    urls
}

fn named(deployment: &Deployment, logical_id: &str) -> Result<String, Error> {
    let resource = deployment.resources.get(logical_id).map(|resource| resource.physical_id.clone());
    resource.ok_or_else(|| Error::Deploy { stack: STACK.to_owned(), reason: format!("it has no {logical_id}") })
}

fn one_of(deployment: &Deployment, kind: &str) -> Result<String, Error> {
    deployment
        .of_kind(kind)
        .next()
        .map(|resource| resource.physical_id.clone())
        .ok_or_else(|| Error::Deploy { stack: STACK.to_owned(), reason: format!("it has no {kind}") })
}
