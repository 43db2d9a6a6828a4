// Feed a sequence step by step to an ONNX file in JavaScript, with onnxruntime-web alone (in node, or bundled for a browser).
//
//     momentumrnn export RUN --format onnx --stateful --out FOLDER
//     npm install onnxruntime-web
//     node examples/js/onnx_streaming.js FOLDER rows.csv
//
// FOLDER has model.onnx and config.json, its description. rows.csv holds one sequence: a header, and a row per step in the
// units of the training data, without quotes. Prints the answer after the last step.
"use strict";
const fs = require("node:fs");
const path = require("node:path");

/** Returns the rows of a CSV as objects by column. */
function readRows(file) {
  const [header, ...lines] = fs.readFileSync(file, "utf8").trim().split(/\r?\n/);
  const names = header.split(",");
  return lines.map((line) => Object.fromEntries(line.split(",").map((cell, index) => [names[index], cell])));
}

/** Returns the rows with their empty cells treated as task.missing of the recipe says; prepare has the mean for the others. */
function withoutGaps(rows, { features, missing }) {
  const gaps = (row) => features.filter((name) => row[name] === "");
  if (missing === "drop_step") return rows.filter((row) => gaps(row).length === 0);
  if (missing === "refuse" && rows.some((row) => gaps(row).length > 0)) {
    throw new Error("the CSV has empty cells, and the model was trained without (task.missing: refuse)");
  }
  if (missing === "forward_fill") {
    rows.slice(1).forEach((row, index) => gaps(row).forEach((name) => (row[name] = rows[index][name])));
  }
  return rows;
}

/** Returns the scaled inputs of a step, or throws where the model needs more than columns of numbers. */
function prepare(row, { preprocessing, made_inputs: made = [] }) {
  if (preprocessing.kind !== "files" || made.length > 0) {
    throw new Error(`this example reads columns of numbers, and the model needs ${made.join(", ") || preprocessing.kind}`);
  }
  const { offset, scale, fill } = preprocessing.scaling;
  return preprocessing.features.map((name, index) => {
    if (!(name in row)) throw new Error(`the CSV has no column ${name}`);
    const value = row[name] === "" ? fill[index] : Number(row[name]);
    if (Number.isNaN(value)) throw new Error(`${name}: ${row[name]} is not a number`);
    return (value - offset[index]) / scale[index];
  });
}

/** Returns a label, or values in their original units. */
function answer(outputs, dataset) {
  if (dataset.loss === "cross_entropy") return dataset.labels[outputs.indexOf(Math.max(...outputs))];
  if (dataset.loss !== "mse") throw new Error(`this example restores values, and the model was trained with ${dataset.loss}`);
  const { scale, offset } = dataset.preprocessing.targets;
  return outputs.map((value, index) => (value * scale[index % scale.length] + offset[index % offset.length]).toPrecision(6)).join(" ");
}

async function main([folder, file]) {
  const ort = require("onnxruntime-web");
  const description = JSON.parse(fs.readFileSync(path.join(folder, "config.json"), "utf8"));
  const session = await ort.InferenceSession.create(fs.readFileSync(path.join(folder, "model.onnx")));
  const { preprocessing } = description.dataset;
  const state = {};
  for (const entry of description.state) {
    const shape = entry.shape.map((size) => (size === "batch" ? 1 : size));
    const size = shape.reduce((product, one) => product * one, 1);
    const zeros = entry.dtype === "int64" ? new BigInt64Array(size) : new Float32Array(size);
    state[entry.input] = new ort.Tensor(entry.dtype, zeros, shape);
  }
  let rows = readRows(file);
  const keys = [preprocessing.schema?.sequence ?? []].flat();
  if (new Set(rows.map((row) => JSON.stringify(keys.map((key) => row[key])))).size > 1) {
    throw new Error(`${file} holds several sequences, by its column ${keys}; this example reads one`);
  }
  rows = withoutGaps(rows, preprocessing);
  let outputs;
  // A forecast is made from the last steps.
  for (const row of rows.slice(-(preprocessing.window ?? rows.length))) {
    const step = Float32Array.from(prepare(row, description.dataset));
    const results = await session.run({ inputs: new ort.Tensor("float32", step, [1, 1, step.length]), ...state });
    for (const entry of description.state) state[entry.input] = results[entry.output];
    outputs = results.outputs;
  }
  // A model with an answer at every step has (1, 1, outputs), others (1, outputs).
  console.log(answer(Array.from(outputs.data), description.dataset));
}

if (process.argv.length !== 4) {
  console.error("usage: node examples/js/onnx_streaming.js FOLDER rows.csv");
  process.exit(2);
}
main(process.argv.slice(2)).catch((error) => {
  console.error(error.message);
  process.exit(1);
});
