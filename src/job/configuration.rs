//! What a backend publishes of itself, in the three forms that peers read.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StorageName;

/// One gate as it is published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateConfig {
    /// The lists of wires that the gate takes.
    pub coupling_map: Vec<Vec<u32>>,
    /// What the gate does.
    pub description: String,
    /// Its name.
    pub name: String,
    /// The names of its parameters.
    pub parameters: Vec<String>,
    /// Its definition in `OpenQASM`, as far as there is one.
    pub qasm_def: String,
}

/// The configuration document of a backend, as it lies in a storage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackendConfig {
    /// What the backend is.
    pub description: String,
    /// The version of the backend.
    pub version: String,
    /// Its short name.
    pub display_name: String,
    /// `fermion`, `boson`, `spin` or `mixed`.
    pub cold_atom_type: String,
    /// The gates.
    pub gates: Vec<GateConfig>,
    /// The largest number of an experiment in a job.
    pub max_experiments: u64,
    /// The largest number of shots of one experiment.
    pub max_shots: u64,
    /// Whether it is a simulator, or hardware.
    pub simulator: bool,
    /// The names of all instructions.
    pub supported_instructions: Vec<String>,
    /// The size of the largest register.
    pub num_wires: u64,
    /// `sequential` or `interleaved`.
    pub wire_order: String,
    /// The number of atomic species.
    pub num_species: u64,
    /// How many jobs wait, where somebody counted.
    #[serde(default)]
    pub pending_jobs: Option<u64>,
    /// A note of the operator or the daemon.
    #[serde(default)]
    pub status_msg: Option<String>,
    /// When the spooler last looked at the queue; peers take a backend for dead when it is too old.
    #[serde(default, with = "queue_check")]
    pub last_queue_check: Option<Timestamp>,
    /// Whether the backend signs what it writes.
    #[serde(default)]
    pub sign: bool,
    /// The id of the key that it signs with.
    #[serde(default)]
    pub kid: Option<String>,
}

/// The configuration of a backend as clients see it (the conventions of qiskit).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the form that qiskit's clients read")]
pub struct ClientConfig {
    /// As in [`BackendConfig`].
    pub description: String,
    /// As in [`BackendConfig`].
    pub display_name: String,
    /// Always false.
    pub conditional: bool,
    /// Always `linear`.
    pub coupling_map: &'static str,
    /// Always false.
    pub dynamic_reprate_enabled: bool,
    /// Always false.
    pub local: bool,
    /// Always true: shots are returned one by one.
    pub memory: bool,
    /// Always false.
    pub open_pulse: bool,
    /// The version of the backend.
    pub backend_version: String,
    /// The size of the largest register.
    pub n_qubits: u64,
    /// The long name.
    pub backend_name: String,
    /// The names of the gates.
    pub basis_gates: Vec<String>,
    /// As in [`BackendConfig`].
    pub max_experiments: u64,
    /// As in [`BackendConfig`].
    pub max_shots: u64,
    /// As in [`BackendConfig`].
    pub simulator: bool,
    /// As in [`BackendConfig`].
    pub gates: Vec<GateConfig>,
    /// As in [`BackendConfig`].
    pub supported_instructions: Vec<String>,
    /// As in [`BackendConfig`].
    pub cold_atom_type: String,
    /// As in [`BackendConfig`].
    pub wire_order: String,
    /// As in [`BackendConfig`].
    pub num_species: u64,
    /// Where a gateway serves the backend; null where none does.
    pub url: Option<String>,
}

/// The status of a backend as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackendStatus {
    /// The long name.
    pub backend_name: String,
    /// The version of the backend.
    pub backend_version: String,
    /// Whether its spooler has looked at the queue lately.
    pub operational: bool,
    /// How many jobs wait.
    pub pending_jobs: u64,
    /// A note for people; may be empty.
    pub status_msg: String,
}

/// How long after its last look at the queue a backend still counts as operational, in seconds (the peers' default).
const OPERATIONAL_S: i64 = 300;

impl BackendConfig {
    /// The name by which clients know the backend `display_name` of a storage.
    pub fn long_name(&self, storage: &StorageName) -> String {
        let kind = if self.simulator { "simulator" } else { "hardware" };
        format!("{storage}_{}_{kind}", self.display_name)
    }

    /// The form that clients read; `url` is where a gateway serves the backend, if one does.
    pub fn for_clients(&self, storage: &StorageName, url: Option<String>) -> ClientConfig {
        ClientConfig {
            description: self.description.clone(),
            display_name: self.display_name.clone(),
            conditional: false,
            coupling_map: "linear",
            dynamic_reprate_enabled: false,
            local: false,
            memory: true,
            open_pulse: false,
            backend_version: self.version.clone(),
            n_qubits: self.num_wires,
            backend_name: self.long_name(storage),
            basis_gates: self.gates.iter().map(|gate| gate.name.clone()).collect(),
            max_experiments: self.max_experiments,
            max_shots: self.max_shots,
            simulator: self.simulator,
            gates: self.gates.clone(),
            supported_instructions: self.supported_instructions.clone(),
            cold_atom_type: self.cold_atom_type.clone(),
            wire_order: self.wire_order.clone(),
            num_species: self.num_species,
            url,
        }
    }

    /// The backend's status at the time `now`.
    pub fn status(&self, storage: &StorageName, now: Timestamp) -> BackendStatus {
        let is_fresh = |check: Timestamp| now.as_second() - check.as_second() <= OPERATIONAL_S;
        BackendStatus {
            backend_name: self.long_name(storage),
            backend_version: self.version.clone(),
            operational: self.last_queue_check.is_some_and(is_fresh),
            pending_jobs: self.pending_jobs.unwrap_or(0),
            status_msg: self.status_msg.clone().unwrap_or_default(),
        }
    }
}

/// `last_queue_check` in the form that Python writes: whole seconds, `+00:00`.
mod queue_check {
    use jiff::Timestamp;
    use jiff::civil::DateTime;
    use jiff::tz::TimeZone;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    #[expect(clippy::ref_option, reason = "the signature that serde asks for")]
    pub(super) fn serialize<S: Serializer>(check: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        check.map(|time| time.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()).serialize(serializer)
    }

    /// Takes any offset; a time without one is UTC, as in the peers' own reading.
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        if let Ok(time) = text.parse::<Timestamp>() {
            return Ok(Some(time));
        }
        let local: DateTime = text.parse().map_err(de::Error::custom)?;
        Ok(Some(local.to_zoned(TimeZone::UTC).map_err(de::Error::custom)?.timestamp()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{"description": "d", "version": "0.1", "display_name": "x", "cold_atom_type": "spin",
        "gates": [], "max_experiments": 1, "max_shots": 1, "simulator": true, "supported_instructions": [],
        "num_wires": 1, "wire_order": "interleaved", "num_species": 1, "last_queue_check": "TIME"}"#;

    fn config(time: &str) -> BackendConfig {
        serde_json::from_str(&CONFIG.replace("TIME", time)).expect("a configuration")
    }

    #[test]
    fn the_time_of_the_last_look_is_read_and_written_as_python_does() {
        let text = "2026-11-22T04:15:19+00:00";
        for given in [text, "2026-11-22T04:15:19Z", "2026-11-22T04:15:19", "2026-11-22T05:15:19.5+01:00"] {
            let written = serde_json::to_value(config(given)).expect("serialises");
            assert_eq!(written["last_queue_check"], text, "{given}");
        }
    }

    #[test]
    fn a_backend_is_operational_while_its_last_look_is_fresh() {
        let config = config("2026-11-22T04:00:00+00:00");
        let storage = "lab".parse().expect("a name");
        let operational = |now: &str| config.status(&storage, now.parse().expect("a time")).operational;
        assert!(operational("2026-11-22T04:05:00Z"));
        assert!(!operational("2026-11-22T04:05:01Z"));
        assert_eq!(config.long_name(&storage), "lab_x_simulator");
    }
}
