"""The protocol: what is written, in which order, and what remains if the worker dies after each step.

A file has one *claim*, named after it. A *batch* is one file, or several small files that share a request and all other
calls except those for their inputs, claims and outcomes. It has one record, whose ETag is the *baton*: only the message
that carries it may continue, and every new message changes it. The record says when its message is *due*. The *sweep*
sends a message for each file with neither claim nor outcome, for each old claim that is in no record, and for each
overdue record, so it finds whatever remains.

    submit   GET input                               nothing: the sweep finds the file
             PUT claim, If-None-Match                a claim without a record: taken over once it is old, after the
                                                     old batch is voided (the fence), so its late worker cannot record
             HEAD outcome                            as before
             POST to the service                     as before, but the text is charged again: the one gap
             PUT record, If-None-Match               a record without a message: revived once it is overdue
             POST message                            nothing is missing
    poll     GET job; while it runs:
             PUT record, If-Match the baton          the redelivered message finds the baton changed, and stops
             POST message                            nothing is missing
             once the job has ended:
             HEAD input                              the message is redelivered
             PUT outcome, If-Match or If-None-Match  the redelivered message finds the outcome
             DELETE claim, If-Match                  the redelivered message finds the outcome
             DELETE record                           nothing is missing

A step that may have killed a worker counts its tries, in the claim or the record, before it begins again. The third try
is the last one, and comes half an hour later: the host ends itself at the third death of its workers within that time.
After a death, each process repeats the interrupted steps one at a time.

A batch of several files is *dissolved* if one of them may be the cause of a problem: the batch is voided, and each of
its files gets a message and continues alone. A file that was too late for its batch rewrites its claim for the next
one. If it is too late again, it goes alone.

A version that is replaced ends without an outcome and keeps its claim until the newer version or the sweep takes it
over: nothing else would show that it was charged. After a refused call, a batch continues later if its baton is still
that of the message. Otherwise, its worker or the sweep continues it.

Only the version in the input container takes over the claim of another version. If the texts are the same and the other
one has a job, it takes over that job, too: PUT claim, PUT record with the new version, POST message. An outcome
replaces only the one that was last seen. A text that waits for the service has a record before it is posted, and the
worker takes its baton first: a message that is delivered twice is not charged twice. A file of many jobs has a ledger
next to its record. Its entries are appended one by one, each at the position where the last one was seen to end.
"""
