"""The emulator of the custom NER service: a recogniser trained on labels, and the service's API in front of it.

What differs from the service, apart from the entities:

- How the service refuses an unknown version is not published. The emulator follows Azure's guidelines for services.
- A job can be read through any version by date, whichever it was submitted in.
- `language: auto` is detected by the script of a text and by frequent words, and does not change the entities. The
  language that is detected need not be one of the project's.
- `loggingOptOut` is accepted, and changes nothing: the emulator keeps texts in memory for as long as their job.
- `cancelAfter` counts from the submission, and ends a job without errors; how the service explains such a job is not
  published.
- `defaultLanguage` is ignored.
"""
