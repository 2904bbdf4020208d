//! Deploys a SAM template as it is, through CloudFormation. The one thing changed is what `sam package` changes too: local
//! `CodeUri`s and `DefinitionUri`s become objects in S3, named by their content.
//!
//! Decision (2026-11-22): the right to answer task tokens is granted on the runner's ARN, as AWS checks it; this
//! local stack adds it on `*`, because its emulator cannot tell which machine a token is of.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::bridge::Bridge;
use crate::wait::poll;

pub(crate) const PACKAGE_BUCKET: &str = "sluice-packages";
const DEPLOY_PATIENCE: Duration = Duration::from_secs(120);

/// Lambda's name for this machine's processor.
pub(crate) fn architecture() -> &'static str {
    if ARCH == "aarch64" { "arm64" } else { "x86_64" }
}

pub(crate) struct Deployer<'a> {
    pub(crate) bridge: &'a Bridge,
    /// Executables by name.
    pub(crate) binaries: &'a BTreeMap<String, PathBuf>,
    /// Where the zips are made.
    pub(crate) folder: PathBuf,
}

pub(crate) struct Package {
    pub(crate) path: PathBuf,
    key: String,
    /// The zip's SHA-256 as Lambda gives it: base64.
    code_sha256: String,
}

/// The zip of one of these executables, made in the folder unless it is there.
pub(crate) fn package(
    bridge: &Bridge,
    binaries: &BTreeMap<String, PathBuf>,
    folder: &Path,
    name: &str,
) -> Result<Package, Error> {
    let binary = binaries
        .get(name)
        .ok_or_else(|| Error::Sample(format!("no binary is called {name:?}, which was to be deployed")))?;
    // Elsewhere the linker already leaves debug information out of the binary.
    let strip = cfg!(target_os = "linux");
    let made = bridge.ask_and_wait(json!({"op": "package", "binary": binary, "directory": folder, "strip": strip}))?;
    let text = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
    Ok(Package { path: text("path").into(), key: text("name"), code_sha256: text("codeSha256") })
}

/// What a deployment made.
pub(crate) struct Deployment {
    /// Physical ids by logical id, with their types.
    pub(crate) resources: BTreeMap<String, Resource>,
}

pub(crate) struct Resource {
    pub(crate) kind: String,
    pub(crate) physical_id: String,
}

impl Deployment {
    pub(crate) fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Resource> {
        self.resources.values().filter(move |resource| resource.kind == kind)
    }
}

impl Deployer<'_> {
    pub(crate) fn deploy(
        &self,
        stack: &str,
        template_path: &Path,
        parameters: &[(&str, &str)],
    ) -> Result<Deployment, Error> {
        let refused = |reason: String| Error::Deploy { stack: stack.to_owned(), reason };
        let mut template = self.bridge.ask_and_wait(json!({"op": "template", "path": template_path}))?;
        for (name, _) in parameters {
            if template["Parameters"].get(*name).is_none() {
                return Err(refused(format!("the template has no parameter {name}")));
            }
        }
        let used =
            self.put_local_files_into_s3(&mut template, template_path).map_err(|error| refused(error.to_string()))?;

        let body = template.to_string();
        let key = format!("{stack}-{}.template.json", short_hash(body.as_bytes()));
        self.put(&key, &json!({"$base64": STANDARD.encode(&body)}))?;
        let parameters: Vec<Value> =
            parameters.iter().map(|(name, value)| json!({"ParameterKey": name, "ParameterValue": value})).collect();
        // By its address in S3, as a template larger than 51,200 bytes has to be.
        self.bridge.aws(
            "cloudformation",
            "create_stack",
            &json!({
                "StackName": stack,
                "TemplateURL": format!("https://s3.amazonaws.com/{PACKAGE_BUCKET}/{key}"),
                "Parameters": parameters,
                "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
            }),
        )?;
        let deployment = self.wait_for(stack)?;
        self.check(&deployment, &used).map_err(refused)?;
        Ok(deployment)
    }

    /// Rewrites the template's local files; returns the packages that its functions use, by logical id.
    fn put_local_files_into_s3(
        &self,
        template: &mut Value,
        template_path: &Path,
    ) -> Result<BTreeMap<String, Package>, Error> {
        let base = template_path.parent().unwrap_or(template_path);
        let Some(resources) = template["Resources"].as_object_mut() else {
            return Err(Error::Sample("the template has no resources".to_owned()));
        };
        let used = self.packages(resources)?;
        for (logical_id, resource) in resources {
            // What a loop (`Fn::ForEach`) makes has no files.
            let Some(properties) = resource.get_mut("Properties") else { continue };
            if let Some(package) = used.get(logical_id) {
                properties["CodeUri"] = json!({"Bucket": PACKAGE_BUCKET, "Key": package.key});
            } else if let Some(uri) = properties["DefinitionUri"].as_str() {
                let path = base.join(uri);
                let definition = fs::read(&path).map_err(Error::io(format_args!("reading {}", path.display())))?;
                let key = format!("{logical_id}-{}.asl.json", short_hash(&definition));
                self.put(&key, &json!({"$base64": STANDARD.encode(&definition)}))?;
                properties["DefinitionUri"] = json!({"Bucket": PACKAGE_BUCKET, "Key": key});
            }
        }
        Ok(used)
    }

    /// Packages and uploads what the template's functions ask for, all at the same time.
    fn packages(&self, resources: &Map<String, Value>) -> Result<BTreeMap<String, Package>, Error> {
        thread::scope(|scope| {
            let started: Vec<_> = resources
                .iter()
                .filter(|(_, resource)| resource["Type"] == "AWS::Serverless::Function")
                .map(|(logical_id, resource)| {
                    // `../target/lambda/create-run/` is where `cargo lambda build` would put it; the folder names the binary.
                    let uri = resource["Properties"]["CodeUri"].as_str().unwrap_or_default();
                    let name = uri.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
                    (logical_id.clone(), scope.spawn(move || self.package(name)))
                })
                .collect();
            let finished = started.into_iter().map(|(logical_id, thread)| {
                let panicked = |_| Err(Error::Sample("packaging panicked".to_owned()));
                Ok((logical_id, thread.join().unwrap_or_else(panicked)?))
            });
            finished.collect()
        })
    }

    fn package(&self, name: &str) -> Result<Package, Error> {
        let package = package(self.bridge, self.binaries, &self.folder, name)?;
        self.put(&package.key, &json!({"$file": package.path}))?;
        Ok(package)
    }

    fn put(&self, key: &str, body: &Value) -> Result<(), Error> {
        let place = json!({"Bucket": PACKAGE_BUCKET, "Key": key});
        // The key names the content, so an object that is there is the right one.
        if self.bridge.aws("s3", "head_object", &place).is_ok() {
            return Ok(());
        }
        self.bridge.aws("s3", "put_object", &json!({"Bucket": PACKAGE_BUCKET, "Key": key, "Body": body}))?;
        Ok(())
    }

    fn wait_for(&self, stack: &str) -> Result<Deployment, Error> {
        let name = json!({"StackName": stack});
        poll(&format!("the stack {stack} to be deployed"), DEPLOY_PATIENCE, Duration::from_millis(50), || {
            let described = self.bridge.aws("cloudformation", "describe_stacks", &name)?;
            let described = &described["Stacks"][0];
            match described["StackStatus"].as_str().unwrap_or_default() {
                "CREATE_IN_PROGRESS" => Ok(None),
                "CREATE_COMPLETE" => Ok(Some(Deployment { resources: self.resources(&name)? })),
                status => Err(Error::Deploy {
                    stack: stack.to_owned(),
                    reason: format!("{status}: {}", self.failures(&name, described)),
                }),
            }
        })
    }

    fn resources(&self, name: &Value) -> Result<BTreeMap<String, Resource>, Error> {
        let found = self.bridge.aws("cloudformation", "describe_stack_resources", name)?;
        let found = found["StackResources"].as_array().cloned().unwrap_or_default();
        Ok(found
            .iter()
            .map(|resource| {
                let text = |name: &str| resource[name].as_str().unwrap_or_default().to_owned();
                let made = Resource { kind: text("ResourceType"), physical_id: text("PhysicalResourceId") };
                (text("LogicalResourceId"), made)
            })
            .collect())
    }

    fn failures(&self, name: &Value, described: &Value) -> String {
        let events = self.bridge.aws("cloudformation", "describe_stack_events", name).unwrap_or_default();
        let mut reasons: Vec<String> = events["StackEvents"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|event| event["ResourceStatus"].as_str().is_some_and(|status| status.ends_with("FAILED")))
            .map(|event| {
                let text = |name: &str| event[name].as_str().unwrap_or_default();
                format!("{} ({}): {}", text("LogicalResourceId"), text("ResourceType"), text("ResourceStatusReason"))
            })
            .collect();
        if reasons.is_empty() {
            reasons.push(described["StackStatusReason"].as_str().unwrap_or("no reason was given").to_owned());
        }
        reasons.join("; ")
    }

    /// The emulator deploys some broken things without a word; this is what AWS would have refused.
    fn check(&self, deployment: &Deployment, used: &BTreeMap<String, Package>) -> Result<(), String> {
        for (logical_id, package) in used {
            let resource = deployment.resources.get(logical_id).ok_or_else(|| format!("{logical_id} was not made"))?;
            let found = self
                .bridge
                .aws("lambda", "get_function_configuration", &json!({"FunctionName": resource.physical_id}))
                .map_err(|error| error.to_string())?;
            if found["CodeSha256"] != *package.code_sha256 {
                return Err(format!("{} does not run the package {}", resource.physical_id, package.key));
            }
        }
        for machine in deployment.of_kind("AWS::StepFunctions::StateMachine") {
            let found = self
                .bridge
                .aws("stepfunctions", "describe_state_machine", &json!({"stateMachineArn": machine.physical_id}))
                .map_err(|error| error.to_string())?;
            check_definition(found["definition"].as_str().unwrap_or_default())
                .map_err(|reason| format!("the state machine {}: {reason}", machine.physical_id))?;
        }
        Ok(())
    }
}

/// The definition is JSON, every substitution was made, and every transition leads somewhere.
fn check_definition(text: &str) -> Result<(), String> {
    let definition: Value =
        serde_json::from_str(text).map_err(|error| format!("the definition is not JSON: {error}"))?;
    if let Some(at) = text.find("${") {
        let rest: String = text[at..].chars().take(40).collect();
        return Err(format!("a substitution was not made: {rest}…"));
    }
    check_states(&definition, "the machine")
}

fn check_states(machine: &Value, of: &str) -> Result<(), String> {
    let states = machine["States"].as_object().ok_or_else(|| format!("{of} has no states"))?;
    let known = |target: &Value, from: &str| match target.as_str() {
        Some(name) if states.contains_key(name) => Ok(()),
        Some(name) => Err(format!("{from} leads to {name}, which is no state of {of}")),
        None => Ok(()),
    };
    if machine["StartAt"].as_str().is_none_or(|start| !states.contains_key(start)) {
        return Err(format!("{of} starts at {}, which is none of its states", machine["StartAt"]));
    }
    for (name, state) in states {
        known(&state["Next"], name)?;
        known(&state["Default"], name)?;
        for branch in ["Choices", "Catch"] {
            for choice in state[branch].as_array().into_iter().flatten() {
                known(&choice["Next"], name)?;
            }
        }
        for inner in ["ItemProcessor", "Iterator"] {
            if state.get(inner).is_some() {
                check_states(&state[inner], name)?;
            }
        }
        for inner in state["Branches"].as_array().into_iter().flatten() {
            check_states(inner, name)?;
        }
    }
    Ok(())
}

fn short_hash(content: &[u8]) -> String {
    Sha256::digest(content).iter().take(10).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transition_to_nowhere_is_found_inside_a_map() {
        let definition = json!({"StartAt": "Each", "States": {"Each": {"Type": "Map", "End": true, "ItemProcessor":
            {"StartAt": "Run", "States": {"Run": {"Type": "Pass", "Next": "Gone"}}}}}});
        let reason = check_definition(&definition.to_string());
        assert!(reason == Err("Run leads to Gone, which is no state of Each".to_owned()), "{reason:?}");
    }

    #[test]
    fn a_substitution_that_was_not_made_is_found() {
        let definition =
            json!({"StartAt": "A", "States": {"A": {"Type": "Pass", "Result": "${TableName}", "End": true}}});
        assert!(check_definition(&definition.to_string()).is_err_and(|reason| reason.contains("${TableName}")));
    }
}
