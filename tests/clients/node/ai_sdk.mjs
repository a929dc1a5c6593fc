import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateText, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';

import { question, seen } from './weather.mjs';

const [api, stream] = process.argv.slice(2);
const { OPENAI_BASE_URL, OPENAI_API_KEY, ANTHROPIC_BASE_URL } = process.env;
const models = {
  responses: () => createOpenAI()('gpt-4.1-mini'),
  chat: () => createOpenAI().chat('gpt-4.1-mini'),
  compatible: () => createOpenAICompatible({ name: 'atlas', baseURL: OPENAI_BASE_URL, apiKey: OPENAI_API_KEY })('m'),
  messages: () => createAnthropic({ baseURL: `${ANTHROPIC_BASE_URL}/v1` })('claude-sonnet-4-5'),
};
const asked = {
  model: models[api](),
  prompt: question,
  stopWhen: stepCountIs(5),
  tools: {
    weather: tool({
      description: 'The weather in a city now.',
      inputSchema: z.object({ city: z.string() }),
      execute: async () => seen,
    }),
  },
};
console.log(stream === 'true' ? await streamText(asked).text : (await generateText(asked)).text);
