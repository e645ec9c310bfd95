// The Node SDKs, a shorter list: node.mjs MODULES BASE KEY UPSTREAM=MODEL[@CONTROL]…
// Prints the versions, and then a line of JSON for each feature. The program that started it judges.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const [modules, base, , ...upstreams] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const OpenAI = require("openai").OpenAI;
const Anthropic = require("@anthropic-ai/sdk").Anthropic;

const TICKET = "Hello, I was charged again for my subscription this month. Please help!";
const WET = "Is it wet in Lisbon?";
const city = { type: "string", enum: ["Lisbon", "Rome"] };
const schema = { type: "object", properties: { city }, required: ["city"], additionalProperties: false };
const user = (content) => ({ role: "user", content });

const openai = new OpenAI({ baseURL: `${base}/v1`, apiKey: "any", maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: base, apiKey: "any", maxRetries: 0 });
const chatTool = { type: "function", function: { name: "weather", parameters: schema, strict: true } };
const responseTool = { type: "function", name: "weather", parameters: schema, strict: true };
const messageTool = { name: "weather", input_schema: schema };

const features = {
  "OpenAI, Node": {
    "chat: create, `stream()`": async ({ model }) => {
      const asked = { model, messages: [user(TICKET)], temperature: 0 };
      const whole = await openai.chat.completions.create(asked);
      assert.equal(whole.choices[0].message.content, "billing");
      const stream = openai.chat.completions.stream(asked);
      let text = "";
      for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
      assert.equal(text, "billing");
      assert.equal((await stream.finalChatCompletion()).choices[0].finish_reason, "stop");
    },
    "chat: `runTools()`": async ({ model, isSmall }) => {
      const calls = [];
      const weather = { ...chatTool.function, parse: JSON.parse, function: ({ city }) => (calls.push(city), `wet in ${city}`) };
      const runner = openai.chat.completions.runTools({
        model,
        messages: [user(WET)],
        tools: [{ type: "function", function: weather }],
        max_tokens: 60,
        ...(isSmall ? { tool_choice: chatTool } : {}),
      });
      const said = isSmall ? (await runner.done(), "") : await runner.finalContent();
      assert.ok(calls.length > 0 && (isSmall || said === "The tool says: wet in Lisbon"), said);
    },
    "responses: create, `stream()`, tools": async ({ model, isSmall }) => {
      const asked = { model, input: TICKET, temperature: 0 };
      assert.equal((await openai.responses.create(asked)).output_text, "billing");
      const stream = openai.responses.stream(asked);
      assert.equal((await stream.finalResponse()).output_text, "billing");
      const forced = isSmall ? { tool_choice: "required" } : {};
      const called = await openai.responses.create({ model, input: WET, tools: [responseTool], ...forced });
      const call = called.output.find((item) => item.type === "function_call");
      const told = { type: "function_call_output", call_id: call.call_id, output: "wet" };
      const input = [user(WET), ...called.output, told];
      const after = await openai.responses.create({ model, input, tools: [responseTool], max_output_tokens: 20 });
      assert.ok(isSmall || after.output_text === "The tool says: wet", after.output_text);
    },
    errors: async ({ model }) => {
      await assert.rejects(openai.chat.completions.create({ model: "other", messages: [user("x")] }), OpenAI.NotFoundError);
      const wrong = openai.chat.completions.create({ model, messages: [user("x")], temperature: 7 });
      await assert.rejects(wrong, (error) => error instanceof OpenAI.BadRequestError && error.param === "temperature");
    },
  },
  "Anthropic, Node": {
    "create, `stream()`": async ({ model }) => {
      const asked = { model, max_tokens: 99, messages: [user(TICKET)] };
      const whole = await anthropic.messages.create(asked);
      assert.equal(whole.content[0].text, "billing");
      const stream = anthropic.messages.stream(asked);
      assert.equal(await stream.finalText(), "billing");
      assert.equal((await stream.finalMessage()).stop_reason, "end_turn");
    },
    "tools: call, result, answer, streamed": async ({ model, isSmall }) => {
      const forced = isSmall ? { tool_choice: { type: "any" } } : {};
      const asked = { model, max_tokens: 99, messages: [user(WET)], tools: [messageTool] };
      const called = await anthropic.messages.stream({ ...asked, ...forced }).finalMessage();
      const call = called.content.find((block) => block.type === "tool_use");
      assert.ok(["Lisbon", "Rome"].includes(call.input.city), JSON.stringify(called));
      const results = called.content.filter((block) => block.type === "tool_use");
      const told = results.map(({ id }) => ({ type: "tool_result", tool_use_id: id, content: "wet" }));
      const messages = [user(WET), { role: "assistant", content: called.content }, user(told)];
      const after = await anthropic.messages.stream({ ...asked, messages, max_tokens: 20 }).finalMessage();
      assert.ok(isSmall || after.content[0].text === "The tool says: wet", JSON.stringify(after));
    },
    errors: async ({ model }) => {
      const other = anthropic.messages.create({ model: "other", max_tokens: 9, messages: [user("x")] });
      await assert.rejects(other, Anthropic.NotFoundError);
      const wrong = anthropic.messages.create({ model, max_tokens: -1, messages: [user("x")] });
      await assert.rejects(wrong, (error) => error instanceof Anthropic.BadRequestError && /max_tokens/.test(error.message));
    },
  },
};

// Which fix of a release it was is no part of the page.
const version = (name) => JSON.parse(readFileSync(`${modules}/node_modules/${name}/package.json`)).version.replace(/\.\d+$/, "");
const named = ["openai", "@anthropic-ai/sdk"].map((name) => [`${name} (npm)`, version(name)]);
console.log(JSON.stringify(Object.fromEntries(named)));
for (const [wire, ofWire] of Object.entries(features)) {
  for (const [feature, run] of Object.entries(ofWire)) {
    for (const given of upstreams) {
      const [upstream, model] = given.split("@")[0].split("=");
      const failed = await run({ model, isSmall: upstream === "worker" }).then(
        () => undefined,
        (error) => error.stack ?? String(error),
      );
      const row = { client: "node", wire, feature, upstream, outcome: failed ? "fail" : "pass", why: failed ?? "" };
      console.log(JSON.stringify(row));
    }
  }
}
