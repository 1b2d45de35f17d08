"""The batch scripts of scripts/hpc on a real Slurm: one node, this machine, in a temporary folder, without systemd. Skips
where Slurm (Debian: slurm-wlm) or munge is not installed, the test is not root, or no cgroups are mounted. And pbs.sh with stand-ins for qstat and
qsub, since no PBS can be had.

    QUANTBOUND_SLURM_LOG=job.log ... slurm_test.py        keeps the log of the job that was interrupted
"""
import os
import pathlib
import re
import shutil
import socket
import stat
import subprocess
import time
import unittest

import h5py

import program
from program import DIGITS, MODELS, UNIT_BOX, toml

HPC = program.REPOSITORY / "scripts" / "hpc"
DAEMONS = ("munged", "slurmctld", "slurmd")
CONFIGURATION = """
ClusterName=quantbound
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
# A requeued job waits as long as the credentials of a step live; two minutes would be usual.
AuthInfo=socket={folder}/munge.socket,cred_expire=10
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=2
ReturnToService=2
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} Sockets=1 CoresPerSocket={cpus} ThreadsPerCore=1 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES State=UP
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def slurm_is_here():
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    return os.geteuid() == 0 and all(map(shutil.which, DAEMONS)) and os.path.ismount("/sys/fs/cgroup")  # slurmd asks for cgroups


class Cluster:
    """munged, slurmctld and slurmd in the foreground of this test, ended with it."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = []
        for name in ("state", "spool"):
            (folder / name).mkdir()
        host = socket.gethostname().split(".")[0]
        # Slurm refuses more processors than there are.
        (folder / "slurm.conf").write_text(CONFIGURATION.format(host=host, folder=folder, cpus=os.cpu_count(), controller_port=free_port(), node_port=free_port()))
        (folder / "munge.key").write_bytes(os.urandom(1024))
        (folder / "munge.key").chmod(stat.S_IRUSR | stat.S_IWUSR)
        folder.chmod(0o755)
        self.environment = program.ENVIRONMENT | {"SLURM_CONF": str(folder / "slurm.conf"), "QUANTBOUND": program.BINARY}
        self.environment = {name: value for name, value in self.environment.items() if not name.startswith(("OMP_", "SLURM_JOB"))}

    def start(self):
        named = [f"--{option}={self.folder}/munge.{option.split('-')[0]}" for option in ("key-file", "pid-file", "log-file", "seed-file")]
        self.spawn("munged", "--foreground", "--force", f"--socket={self.folder}/munge.socket", *named)
        self.wait_for("munged", lambda: (self.folder / "munge.socket").exists())
        self.spawn("slurmctld", "-D", "-i")
        self.spawn("slurmd", "-D")
        self.wait_for("slurmd", lambda: "idle" in self.run("sinfo", "--noheader", "--format=%t").stdout)

    def spawn(self, *words):
        log = open(self.folder / f"{words[0]}.out", "w")
        self.processes.append(subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.environment))
        log.close()

    def wait_for(self, what, condition):
        for _ in range(600):
            if condition():
                return
            time.sleep(0.1)
        raise AssertionError(f"{what} does not come up: " + "".join(path.read_text()[-2000:] for path in self.folder.glob("*.out")))

    def run(self, *words, folder=None):
        return subprocess.run(list(map(str, words)), capture_output=True, text=True, env=self.environment, cwd=folder, timeout=560)

    def wait_until_idle(self):
        """No job is waiting or running."""
        for _ in range(5500):
            if not self.run("squeue", "--noheader").stdout.strip():
                return
            time.sleep(0.1)
        raise AssertionError(self.run("squeue").stdout)

    def stop(self):
        self.run("scancel", "--user=root")
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@unittest.skipUnless(slurm_is_here(), "Slurm and munge are not installed, this is not root, or no cgroups are mounted")
class Slurm(program.WithFolder):
    @classmethod
    def setUpClass(cls):
        holder = program.WithFolder()
        holder.setUp()
        cls.addClassCleanup(holder.doCleanups)
        cls.cluster = Cluster(holder.folder)
        cls.addClassCleanup(cls.cluster.stop)
        cls.cluster.start()

    def sbatch(self, *words):
        """Submits, waits for the end of the job, requeued or not; its exit code and its log."""
        log = self.folder / "job.log"
        run = self.cluster.run("sbatch", "--wait", f"--output={log}", *words, folder=self.folder)
        return run.returncode, log.read_text() if log.exists() else run.stderr

    def points_of(self, seconds):
        """How many uniform points make the study take so long here and now."""
        points = 2000
        while True:
            start = time.monotonic()
            run = program.quantbound("sweep", self.study, "--output", self.folder / "trial.h5", "--threads", 1, "--set", f"observe.uniform={points}", ranks=2)
            self.assertEqual(run.code, 0, run.err)
            taken = time.monotonic() - start
            if taken > seconds / 8:
                return int(points * max(1.0, seconds / taken))
            points *= 2

    def test_a_job_that_meets_its_walltime_ends_with_the_result_of_one_that_does_not(self):
        """--time counts minutes, and Slurm looks for jobs near their end every half minute: the signal comes 10 to 40
        seconds after the start. So the study takes a minute."""
        self.study = self.write("study.toml", toml({
            "study": {"name": "walltime"},
            "network": [{"file": [MODELS / "digits_mlp_11.onnx", MODELS / "digits_cnn.onnx"], "domain": UNIT_BOX, "samples": ["digits"]}],
            "samples": [DIGITS], "quantization": {"quantizer": ["floor", "round"], "bits": [4, 8]}}))
        options = ("--set", f"observe.uniform={self.points_of(60)}")
        whole = self.folder / "whole.h5"
        code, log = self.sbatch("--ntasks=2", "--time=60", HPC / "slurm.sh", self.study, whole, *options)
        self.assertEqual((code, log.count(" start "), log.count("into the queue")), (0, 1, 0), log)
        (self.folder / "job.log").unlink()
        code, log = self.sbatch("--ntasks=2", "--time=1", "--signal=B:USR1@20", HPC / "slurm.sh", self.study, "job.h5", *options)
        if "QUANTBOUND_SLURM_LOG" in os.environ:
            pathlib.Path(os.environ["QUANTBOUND_SLURM_LOG"]).write_text(log)
        self.assertEqual(code, 0, log)
        starts, requeued = log.count(" start "), log.count("back into the queue")
        self.assertGreater(requeued, 0, "the job was done before its walltime:\n" + log)
        self.assertEqual((starts, log.count("2 ranks on ")), (requeued + 1, requeued + 1), log)
        self.assertEqual(log.count("stopped early, progress is saved"), requeued, log)
        # The last start may be done before its signal is looked at.
        self.assertIn(log.count("the walltime is near"), (requeued, requeued + 1), log)
        job = self.folder / "job.h5"
        self.assertEqual(program.differences(program.describe(whole), program.describe(job)), [])
        difference = subprocess.run(["h5diff", "--exclude-path", "/provenance", whole, job], capture_output=True, text=True)
        self.assertEqual((difference.returncode, "found" in difference.stdout), (0, False), difference.stdout)
        with h5py.File(whole) as first, h5py.File(job) as last:
            self.assertLess(last["provenance"].attrs["tasks_run"], first["provenance"].attrs["tasks_run"])

    def test_a_job_without_progress_is_not_requeued_for_ever(self):
        study = self.write("endless.toml", toml({
            "study": {"name": "endless"}, "quantization": {"bits": 4},
            "network": [{"family": "mlp", "depth": 6, "width": 32, "inputs": 6, "domain": {"low": -1.0, "high": 1.0}}],
            "certify": {"method": ["branch_and_bound"], "tolerance": 0.0}}))
        code, log = self.sbatch("--ntasks=1", "--time=1", "--signal=B:USR1@60", HPC / "slurm.sh", study, "endless.h5")
        self.assertEqual(code, 75, log)
        self.assertLessEqual(log.count("back into the queue"), 2, log)
        self.assertIn("not requeued: this start finished nothing", log)

    def test_errors_end_the_job_with_their_code(self):
        code, log = self.sbatch("--ntasks=1", "--time=5", HPC / "slurm.sh", self.folder / "none.toml", "out.h5")
        self.assertEqual(code, 2, log)
        self.assertRegex(log, r"quantbound: error: .*none\.toml")
        self.assertNotIn("into the queue", log)

    def test_an_array_of_studies_and_their_merged_result(self):
        """One study cut by bits, as a list, and as a folder of studies; both merge to the study at once."""
        study = program.small_study(quantization={"bits": [3, 4]}, network=[{"file": MODELS / "digits_mlp_5.onnx", "domain": UNIT_BOX}])
        whole = self.write("whole.toml", toml(study))
        self.assertEqual(program.quantbound("sweep", whole, "--output", self.folder / "whole.h5").code, 0)
        self.write("studies.txt", f"# cut by bits\n{whole} --set quantization.bits=[3]\n\n{whole} --set quantization.bits=[4]\n")
        (self.folder / "studies").mkdir()
        for bits in (3, 4):
            self.write(f"studies/bits{bits}.toml", toml(study | {"quantization": {"bits": bits}}))
        for studies, folder, names in (("studies.txt", "list", ["001-whole.h5", "002-whole.h5"]),
                                       ("studies", "folder", ["001-bits3.h5", "002-bits4.h5"])):
            with self.subTest(studies=studies):
                run = self.cluster.run(HPC / "slurm_array.sh", studies, folder, "--ntasks=1", "--time=5", folder=self.folder)
                self.assertEqual(run.returncode, 0, run.stderr)
                self.assertRegex(run.stdout, r"\Aarray job \d+: 2 studies, listed in .*studies\.list\nmerge job \d+: .*merged\.h5\n\Z")
                self.cluster.wait_until_idle()
                there = {path.name for path in (self.folder / folder).iterdir()}
                said = "".join(path.read_text() for path in (self.folder / folder).glob("*.log"))
                self.assertLessEqual({*names, "merged.h5", "studies.list"}, there, said)
                merged = program.describe(self.folder / folder / "merged.h5")
                # How large the float error is said to be depends on how a study's work is cut into tasks.
                self.assertLessEqual(set(program.differences(program.describe(self.folder / "whole.h5"), merged)),
                                     {"/@study_hash", "/@study_toml", "/observed_error", "/observed_quantile_upper"})

    def test_an_array_with_a_missing_study_submits_nothing(self):
        self.write("studies.txt", "none.toml\n")
        run = self.cluster.run(HPC / "slurm_array.sh", "studies.txt", "results", folder=self.folder)
        self.assertEqual((run.returncode, run.stdout), (2, ""))
        self.assertIn("there is no study 'none.toml'", run.stderr)
        self.assertEqual(self.cluster.run("squeue", "--noheader").stdout, "")


class Pbs(program.WithFolder):
    """The logic of pbs.sh; a real PBS was not to be had. qstat tells a walltime, qsub writes down what it is asked for."""

    def setUp(self):
        super().setUp()
        tools = self.folder / "tools"
        tools.mkdir()
        for name, text in {"qstat": "echo \"Job Id: $2\n    Resource_List.walltime = ${WALLTIME}\"", "qsub": 'printf "%s\\n" "$@" >qsub.log; echo 2.server'}.items():
            (tools / name).write_text(f"#!/bin/sh\n{text}\n")
            (tools / name).chmod(0o755)
        (self.folder / "nodes").write_text(socket.gethostname() + "\n")
        self.study = self.write_study()

    def run_job(self, walltime, **variables):
        environment = program.ENVIRONMENT | {
            "PATH": f"{self.folder}/tools:{os.environ['PATH']}", "PBS_JOBID": "1.server", "PBS_O_WORKDIR": str(self.folder), "PBS_NODEFILE": str(self.folder / "nodes"),
            "QUANTBOUND": program.BINARY, "STUDY": "study.toml", "OUTPUT": "out.h5", "WALLTIME": walltime} | variables
        return subprocess.run([HPC / "pbs.sh"], capture_output=True, text=True, env=environment, timeout=500)

    def test_a_study_that_is_done_is_not_submitted_again(self):
        run = self.run_job("04:00:00")
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assertIn("stops after 235 minutes", run.stdout)
        self.assertTrue((self.folder / "out.h5").exists())
        self.assertFalse((self.folder / "qsub.log").exists())

    def test_a_study_that_is_stopped_is_submitted_again(self):
        stopper = self.write("stopper", "#!/bin/sh\nmkdir -p out.h5.journal; echo record >>out.h5.journal/0; exit 75\n")
        stopper.chmod(0o755)
        run = self.run_job("0:30:00", QUANTBOUND=str(stopper), MARGIN="0", SCRIPT="/path/pbs.sh")
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assertIn("stops after 30 minutes", run.stdout)
        self.assertIn("submitted again as 2.server", run.stdout)
        asked = (self.folder / "qsub.log").read_text().splitlines()
        self.assertEqual(asked[:3], ["-l", "walltime=0:30:00", "-v"])
        self.assertRegex(asked[3], r"\ASTUDY=study\.toml,OUTPUT=out\.h5,OPTIONS=,MARGIN=0,QUANTBOUND=.*/stopper,SCRIPT=/path/pbs\.sh\Z")
        self.assertEqual(asked[4], "/path/pbs.sh")

    def test_without_progress_it_is_not_submitted_again(self):
        stopper = self.write("stopper", "#!/bin/sh\nexit 75\n")
        stopper.chmod(0o755)
        run = self.run_job("0:30:00", QUANTBOUND=str(stopper))
        self.assertEqual(run.returncode, 75, run.stdout + run.stderr)
        self.assertIn("not submitted again", run.stderr)
        self.assertFalse((self.folder / "qsub.log").exists())

    def test_what_it_needs_is_said(self):
        for variables, pattern in (({"STUDY": ""}, "name the study and the result"), ({"WALLTIME": ""}, "does not tell the walltime"),
                                   ({"WALLTIME": "0:05:00"}, "leaves no time"), ({"QUANTBOUND": "/none"}, "there is no program")):
            with self.subTest(variables=variables):
                run = self.run_job(**({"walltime": variables.pop("WALLTIME", "1:00:00")} | variables))
                self.assertEqual(run.returncode, 2)
                self.assertRegex(run.stderr, pattern)


if __name__ == "__main__":
    unittest.main()
