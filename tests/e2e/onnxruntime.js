// The outputs of ONNX Runtime: onnxruntime.js MODULES INPUTS.f32 BATCH MODEL... prints a JSON list with the outputs of each
// model, one after the other. Inputs are float32 numbers, BATCH of them at a time where the model leaves the batch open.
const [modules, inputs, batch, ...models] = process.argv.slice(2);
const fs = require("fs");
const ort = require(modules + "/onnxruntime-node");

async function outputs(model) {
  const session = await ort.InferenceSession.create(model, { intraOpNumThreads: 1, logSeverityLevel: 3 });
  const bytes = fs.readFileSync(inputs);
  const all = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const stated = session.inputMetadata[0].shape;
  const shape = [typeof stated[0] === "number" && stated[0] > 0 ? stated[0] : Number(batch), ...stated.slice(1)];
  const size = shape.reduce((a, b) => a * b, 1);
  const result = [];
  for (let first = 0; first < all.length; first += size) {
    const feeds = { [session.inputNames[0]]: new ort.Tensor("float32", all.slice(first, first + size), shape) };
    result.push(...(await session.run(feeds))[session.outputNames[0]].data);
  }
  return result;
}

async function main() {
  const results = [];
  for (const model of models) results.push(await outputs(model));
  console.log(JSON.stringify(results));
}

main().catch((error) => {
  console.error(String(error));
  process.exit(1);
});
