//! What a simulator says it will allocate, against what it does.
//!
//! One test only: another one beside it would be counted too.

use peak_alloc::PeakAlloc;
use qspool::job::Document;
use qspool::signing::{PrivateKey, sign, signing_bytes};
use qspool::simulator::{ShotRandom, simulator};
use qspool_driver::{Instruction, Program, StopFlag, WireOrder};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Name, wires and parameters of an instruction.
type Gate<'a> = (&'a str, &'a [u32], &'a [f64]);

fn check(backend: &str, num_wires: u32, shots: u32, gates: &[Gate]) {
    let instruction = |&(name, wires, params): &Gate| Instruction {
        name: name.to_owned(),
        wires: wires.to_vec(),
        params: params.to_vec(),
    };
    let instructions = gates.iter().map(instruction).collect();
    let program = Program { instructions, num_wires, shots, wire_order: WireOrder::Sequential, seed: None };
    let simulator = simulator(backend).expect("one of the four");
    let mut random = ShotRandom::from_seed(1);
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.peak_usage();
    let said = simulator.memory(&program);
    let to_find_out = ALLOCATOR.peak_usage() - before;
    let outcome = simulator.run(&program, &mut random, &StopFlag::default());
    let used = ALLOCATOR.peak_usage() - before;
    outcome.unwrap_or_else(|error| panic!("{backend} {gates:?}: {error}"));

    assert!(used as u64 <= said, "{backend} {gates:?}: used {used} bytes, said {said}");
    assert!(to_find_out < 64 << 10, "{backend} {gates:?}: {to_find_out} bytes to find out");
    // An estimate that is far too large would refuse what can be done.
    assert!(said <= 5 * used as u64 + (1 << 20), "{backend} {gates:?}: used {used} bytes, said {said}");
}

/// The same for the signature of a result whose memory holds `shots` times `shot`.
fn check_signature(shot: &str, shots: usize) {
    let memory = vec![shot; shots].join(",");
    let result = Document::from_text(format!(r#"{{"results":[{{"shots":{shots},"data":{{"memory":[{memory}]}}}}]}}"#));
    drop(memory);
    let key = PrivateKey::new(&"lab".parse().expect("a kid"), &[1; 32]);
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.peak_usage();
    let signed = sign(&result, &key).expect("JSON");
    let used = ALLOCATOR.peak_usage() - before;
    let said = signing_bytes(result.text().len() as u64);
    assert!(used as u64 <= said, "{shots} x {shot}: used {used} bytes, said {said}");
    assert!(said <= 2 * used as u64 + (1 << 13), "{shots} x {shot}: used {used} bytes, said {said}");
    drop(signed);
}

#[test]
fn no_run_takes_more_memory_than_it_said() {
    let measure: Gate = ("measure", &[0], &[]);
    for shots in [1, 100_000] {
        for (n, full) in [(1.0, 1e4), (40.0, 1.0), (90.0, 1e6)] {
            let load: Gate = ("load", &[0], &[n]);
            let gates: [Gate; 4] = [load, ("rlx", &[0], &[1.0]), ("sq_full", &[0], &[full; 3]), measure];
            check("singlequdit", 1, shots, &gates);
        }
        let gates: Vec<Gate> = vec![
            ("load", &[0], &[]),
            ("load", &[2], &[]),
            ("load", &[5], &[]),
            ("fhop", &[0, 1, 2, 3], &[1.0]),
            ("fhop", &[2, 3, 4, 5], &[1.0]),
            ("fint", &[], &[1.0]),
        ];
        let measurements: [Gate; 8] = [0, 1, 2, 3, 4, 5, 6, 7].map(|_| measure);
        check("fermions", 8, shots, &[gates, measurements.to_vec()].concat());
        for num_wires in [1, 2, 5, 11] {
            let p = [if num_wires < 6 { 1e6 } else { 2.0 }, 1.0, 10.0];
            let turn: Gate = ("rlx", &[0], &[1.0]);
            let gates = [turn, ("rydberg_full", &[0, 1, 2, 3, 4], &p), ("rydberg_block", &[], &[1.0])];
            check("rydberg", num_wires, shots, &[&gates[..], &[measure; 5]].concat());
        }
    }
    // Fermions that come in later; all in one column; more modes than a register of all states would have memory for.
    let sites: Vec<[u32; 1]> = (0..40).map(|mode| [mode]).collect();
    let lattice = |modes: u32, loads: &[usize], later: &[Gate]| {
        let loads = loads.iter().map(|&mode| -> Gate { ("load", &sites[mode], &[]) });
        let hop: Gate = ("fhop", &[0, 1, 2, 3], &[1.0]);
        let all = sites[..modes as usize].iter().map(|mode| -> Gate { ("measure", mode, &[]) });
        let gates: Vec<Gate> = loads.chain([hop, ("fphase", &[0], &[1.0]), hop]).chain(later.iter().copied()).collect();
        check("fermions", modes, 10_000, &gates.iter().copied().chain(all).collect::<Vec<Gate>>());
        check("fermions", modes, 10_000, &gates.iter().copied().chain([measure]).collect::<Vec<Gate>>());
    };
    let half: Vec<usize> = (0..20).filter(|mode| mode % 4 < 2).collect();
    lattice(20, &half, &[("fint", &[], &[1.0])]);
    lattice(20, &half, &[("load", &[19], &[]), ("fhop", &[2, 3, 4, 5], &[1.0])]);
    lattice(18, &half[..9], &[("frx", &[4, 5], &[1.0]), ("load", &[15], &[])]);
    lattice(40, &[0, 1, 3], &[("load", &[9], &[]), ("frx", &[4, 5], &[1.0])]);
    // Hops and interaction together: by diagonalisation, by a series, by rotations, and in one column.
    let hubbard = |sites: usize, hop: f64, interaction: f64| -> Vec<f64> {
        [vec![hop; sites - 1], vec![interaction], vec![0.5; sites]].concat()
    };
    lattice(8, &half[..4], &[("fhubbard", &[], &hubbard(4, 1e6, 1e6))]);
    lattice(16, &half[..8], &[("fhubbard", &[], &hubbard(8, 1.0, 4.0))]);
    lattice(20, &half[..10], &[("fhubbard", &[], &hubbard(10, 1.0, 0.0))]);
    lattice(16, &half[..6], &[("frx", &[4, 5], &[1.0]), ("fhubbard", &[], &hubbard(8, 1.0, -2.0))]);
    // Large enough for all cores.
    let turns: Vec<[u32; 1]> = (0..16).map(|wire| [wire]).collect();
    let turns: Vec<Gate> = turns.iter().map(|wire| -> Gate { ("rlx", wire, &[1.0]) }).collect();
    check("rydberg", 16, 1000, &[&turns[..], &[("rydberg_block", &[], &[1.0]), measure]].concat());
    let spins = |loads: &[f64], gates: &[Gate]| {
        let wires: Vec<[u32; 1]> = (0..loads.len()).map(|wire| [u32::try_from(wire).expect("small")]).collect();
        let mut program: Vec<Gate> =
            loads.iter().zip(&wires).map(|(n, wire)| ("load", &wire[..], std::slice::from_ref(n))).collect();
        program.extend(wires.iter().map(|wire| -> Gate { ("rlx", wire, &[1.0]) }));
        program.extend(gates);
        program.extend(wires.iter().map(|wire| -> Gate { ("measure", wire, &[]) }));
        check("multiqudit", u32::try_from(loads.len()).expect("small"), 100_000, &program);
    };
    let chain = [0, 1, 2, 3, 4];
    // Series, blocks, one block, single wires, diagonal.
    for p in
        [[1.0, 0.5, 0.1, 0.02, 0.05], [0.0, 1e6, 1e6, 1e6, 1e6], [1.0, 1.0, 1.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0, 1.0]]
    {
        spins(&[15.0, 15.0, 15.0], &[("multiqudit_full", &chain, &p)]);
    }
    spins(&[3.0, 4.0, 5.0], &[("multiqudit_full", &chain, &[1e6; 5])]);
    spins(&[60.0, 50.0], &[("rlxly", &[0, 1], &[1.0]), ("rlzlz", &[1, 0], &[1.0]), ("rlxly", &chain, &[1.0])]);
    spins(&[2.0, 80.0, 3.0], &[("rlxly", &[0, 1], &[1.0]), ("rlxly", &[2, 1], &[1.0]), ("rlz2", &[1], &[1.0])]);
    for (shot, shots) in [("\"0\"", 1_000_000), ("\"0 1 0 1 0 1 0 1\"", 100_000), ("1", 500_000), ("\"500\"", 1)] {
        check_signature(shot, shots);
    }
    spins(&[1.0; 5], &[("rlxly", &chain, &[1.0]), ("rlzlz", &chain, &[1.0]), ("rlxly", &[3, 3], &[1.0])]);
}
