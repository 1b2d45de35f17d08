// What a user of ONNX Runtime would do for a study: a session per network, every image through each of them.
// sweep.js MODULES MODEL SESSIONS IMAGES BATCH THREADS: prints the seconds from the first session to the last output.
const [modules, model, ...numbers] = process.argv.slice(2);
const [sessions, images, batch, threads] = numbers.map(Number);
const ort = require(modules + "/onnxruntime-node");

async function main() {
  const options = {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: "sequential",
    graphOptimizationLevel: "all",
  };
  const probe = await ort.InferenceSession.create(model, options);
  const sample = probe.inputMetadata[0].shape.slice(1);
  const name = probe.inputNames[0];
  await probe.release();
  const size = sample.reduce((a, b) => a * b, 1);
  const data = new Float32Array(images * size);
  let state = 1; // any fixed numbers: a linear congruential generator
  for (let i = 0; i < data.length; ++i) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    data[i] = state / 2147483648 - 1;
  }
  const begin = process.hrtime.bigint();
  for (let s = 0; s < sessions; ++s) {
    const session = await ort.InferenceSession.create(model, options);
    for (let first = 0; first < images; first += batch) {
      const count = Math.min(batch, images - first);
      const part = data.subarray(first * size, (first + count) * size);
      await session.run({ [name]: new ort.Tensor("float32", part, [count, ...sample]) });
    }
    await session.release();
  }
  console.log(Number(process.hrtime.bigint() - begin) * 1e-9);
}

main().catch((error) => {
  console.error(String(error));
  process.exit(1);
});
