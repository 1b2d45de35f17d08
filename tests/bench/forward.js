// ONNX Runtime on a model, one run per line of input: forward.js MODULES MODEL BATCH THREADS
// Prints "ready", then the seconds of each run, so that forward.py can alternate it with our engine.
const [modules, model, batchText, threadsText] = process.argv.slice(2);
const ort = require(modules + "/onnxruntime-node");
const readline = require("readline");

async function main() {
  const session = await ort.InferenceSession.create(model, {
    intraOpNumThreads: Number(threadsText),
    interOpNumThreads: 1,
    executionMode: "sequential",
    graphOptimizationLevel: "all",
  });
  const shape = [Number(batchText), ...session.inputMetadata[0].shape.slice(1)];
  const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
  let state = 1; // any fixed numbers: a linear congruential generator
  for (let i = 0; i < data.length; ++i) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    data[i] = state / 2147483648 - 1;
  }
  const feeds = { [session.inputNames[0]]: new ort.Tensor("float32", data, shape) };
  for (let i = 0; i < 3; ++i) await session.run(feeds);
  console.log("ready");
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const begin = process.hrtime.bigint();
    await session.run(feeds);
    console.log(Number(process.hrtime.bigint() - begin) * 1e-9);
  }
}

main().catch((error) => {
  console.error(String(error));
  process.exit(1);
});
